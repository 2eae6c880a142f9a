"""A minimal ERC-4626 vault of our own for tests: deposits, redemptions, and a manager who trades under a guard."""

VAULT_SOURCE = """
// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

interface Erc20 {
    function balanceOf(address owner) external view returns (uint256);
    function transfer(address to, uint256 value) external returns (bool);
    function transferFrom(address from, address to, uint256 value) external returns (bool);
}

// Shares are priced by the total assets that the manager reported last, moved by what flowed since.
contract Vault {
    string public constant name = "Test vault";
    string public constant symbol = "TV";
    uint8 public constant decimals = 18;
    address public immutable asset;
    address public immutable governor;
    address public manager;
    uint256 public totalAssets;
    uint256 public totalSupply;
    mapping(address => uint256) public balanceOf;
    mapping(address => bool) public isAllowed;
    event Transfer(address indexed from, address indexed to, uint256 value);
    event Deposit(address indexed sender, address indexed owner, uint256 assets, uint256 shares);
    event Withdraw(
        address indexed sender, address indexed receiver, address indexed owner, uint256 assets, uint256 shares
    );
    event AssetsReported(uint256 totalAssets);

    constructor(address asset_, address manager_) { asset = asset_; manager = manager_; governor = msg.sender; }

    modifier onlyManager() { require(msg.sender == manager, "not the manager"); _; }

    function allow(address target) external {
        require(msg.sender == governor, "not the governor");
        isAllowed[target] = true;
    }

    function convertToShares(uint256 assets) public view returns (uint256) {
        return totalSupply == 0 ? assets * 1e12 : assets * totalSupply / totalAssets;
    }

    function deposit(uint256 assets, address receiver) external returns (uint256 shares) {
        shares = convertToShares(assets);
        require(Erc20(asset).transferFrom(msg.sender, address(this), assets), "transfer failed");
        totalAssets += assets;
        _mint(receiver, shares);
        emit Deposit(msg.sender, receiver, assets, shares);
    }

    function redeem(uint256 shares, address receiver, address owner) external returns (uint256 assets) {
        require(msg.sender == owner, "not the owner");
        assets = shares * totalAssets / totalSupply;
        balanceOf[owner] -= shares;
        totalSupply -= shares;
        totalAssets -= assets;
        emit Transfer(owner, address(0), shares);
        require(Erc20(asset).transfer(receiver, assets), "transfer failed");
        emit Withdraw(msg.sender, receiver, owner, assets, shares);
    }

    // The manager's fee, taken in new shares: no Deposit is emitted.
    function takeFee(uint256 shares) external onlyManager { _mint(manager, shares); }

    function setManager(address manager_) external {
        require(msg.sender == governor, "not the governor");
        manager = manager_;
    }

    // What is reported was counted for a number of shares, and soon gets old.
    function reportAssets(uint256 value, uint256 supply, uint256 deadline) external onlyManager {
        require(supply == totalSupply, "shares were made or redeemed since");
        require(block.timestamp <= deadline, "the report is too old");
        totalAssets = value;
        emit AssetsReported(value);
    }

    // The guard: only allowed contracts are called, and of tokens only approve, for allowed spenders.
    function execute(address target, bytes calldata data) external onlyManager returns (bytes memory) {
        if (bytes4(data) == 0x095ea7b3) {
            require(isAllowed[abi.decode(data[4:36], (address))], "spender is not allowed");
        } else {
            require(isAllowed[target], "target is not allowed");
        }
        (bool isSuccess, bytes memory answer) = target.call(data);
        if (!isSuccess) assembly { revert(add(answer, 32), mload(answer)) }
        return answer;
    }

    function _mint(address to, uint256 shares) internal {
        totalSupply += shares;
        balanceOf[to] += shares;
        emit Transfer(address(0), to, shares);
    }
}
"""
