"""Contracts of our own for local chains, in Solidity: a token, and what reads many values in one call."""

OWN_CONTRACTS = """
// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

contract Token {
    string public name;
    string public symbol;
    uint8 public immutable decimals;
    uint256 public immutable taxBps;
    uint256 public totalSupply;
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;
    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed owner, address indexed spender, uint256 value);

    constructor(string memory symbol_, uint8 decimals_, uint256 taxBps_, uint256 supply) {
        name = symbol_; symbol = symbol_; decimals = decimals_; taxBps = taxBps_;
        totalSupply = supply; balanceOf[msg.sender] = supply;
        emit Transfer(address(0), msg.sender, supply);
    }

    function approve(address spender, uint256 value) external returns (bool) {
        allowance[msg.sender][spender] = value;
        emit Approval(msg.sender, spender, value);
        return true;
    }

    function transfer(address to, uint256 value) external returns (bool) { return _move(msg.sender, to, value); }

    function transferFrom(address from, address to, uint256 value) external returns (bool) {
        require(allowance[from][msg.sender] >= value, "allowance too small");
        allowance[from][msg.sender] -= value;
        return _move(from, to, value);
    }

    function _move(address from, address to, uint256 value) internal returns (bool) {
        require(balanceOf[from] >= value, "balance too small");
        uint256 tax = value * taxBps / 10000;
        balanceOf[from] -= value;
        balanceOf[to] += value - tax;
        balanceOf[address(0xdead)] += tax;
        emit Transfer(from, to, value - tax);
        if (tax > 0) emit Transfer(from, address(0xdead), tax);
        return true;
    }
}

contract Aggregator {
    struct Call { address target; bool allowFailure; bytes callData; }
    struct Result { bool success; bytes returnData; }

    function aggregate3(Call[] calldata calls) external payable returns (Result[] memory results) {
        results = new Result[](calls.length);
        for (uint256 i = 0; i < calls.length; i++) {
            (results[i].success, results[i].returnData) = calls[i].target.call(calls[i].callData);
            require(results[i].success || calls[i].allowFailure, "call failed");
        }
    }
}
"""
"""``Token`` takes symbol, decimals, transfer tax in bps and supply; ``Aggregator`` answers as Multicall3 does."""
