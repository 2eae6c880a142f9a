"""Trading on EVM chains: the only importer of web3 and its family."""
