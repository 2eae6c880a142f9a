"""An ERC-4626 vault for tests whose shares are traded: it can be closed, capped, made dearer, or break its word."""

SHARE_VAULT_SOURCE = """
// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

interface Erc20 {
    function balanceOf(address owner) external view returns (uint256);
    function transfer(address to, uint256 value) external returns (bool);
    function transferFrom(address from, address to, uint256 value) external returns (bool);
}

// No virtual shares: what its holders are robbed of, they are robbed of here.
contract ShareVault {
    string public constant name = "Test shares";
    string public constant symbol = "SHARE";
    uint8 public constant decimals = 18;
    uint256 constant NO_LIMIT = type(uint256).max;
    address public immutable asset;
    uint256 public totalSupply;
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;
    uint256 public depositCap = NO_LIMIT;
    uint256 public redeemCap = NO_LIMIT;
    uint256 public feeBps;
    uint256 public slipBps;
    bool public isClosed;
    bool public isAsync;
    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed owner, address indexed spender, uint256 value);
    event Deposit(address indexed sender, address indexed owner, uint256 assets, uint256 shares);
    event Withdraw(
        address indexed sender, address indexed receiver, address indexed owner, uint256 assets, uint256 shares
    );

    constructor(address asset_) { asset = asset_; }

    function setCaps(uint256 deposit_, uint256 redeem_) external { depositCap = deposit_; redeemCap = redeem_; }
    function setFee(uint256 bps) external { feeBps = bps; }
    function setSlip(uint256 bps) external { slipBps = bps; }  // previews do not tell of it
    function setClosed(bool value) external { isClosed = value; }  // limits do not tell of it
    function setAsync(bool value) external { isAsync = value; }

    function lose(uint256 assets) external { require(Erc20(asset).transfer(address(0xdead), assets), "failed"); }

    function supportsInterface(bytes4 id) external view returns (bool) {
        return id == 0x01ffc9a7 || (isAsync && (id == 0xce3bbe50 || id == 0x620ee8e4));
    }

    function totalAssets() public view returns (uint256) { return Erc20(asset).balanceOf(address(this)); }
    function convertToShares(uint256 assets) public view returns (uint256) {
        return totalSupply == 0 ? assets * 1e12 : assets * totalSupply / totalAssets();
    }
    function convertToAssets(uint256 shares) public view returns (uint256) {
        return totalSupply == 0 ? shares / 1e12 : shares * totalAssets() / totalSupply;
    }
    function previewDeposit(uint256 assets) public view returns (uint256) {
        require(!isAsync, "requests only");
        return convertToShares(assets - assets * feeBps / 10000);
    }
    function previewRedeem(uint256 shares) public view returns (uint256 assets) {
        require(!isAsync, "requests only");
        assets = convertToAssets(shares);
        assets -= assets * feeBps / 10000;
    }
    function maxDeposit(address) external view returns (uint256) { return depositCap; }
    function maxRedeem(address owner) external view returns (uint256) {
        return balanceOf[owner] < redeemCap ? balanceOf[owner] : redeemCap;
    }

    function deposit(uint256 assets, address receiver) external returns (uint256 shares) {
        require(!isClosed, "closed");
        require(assets <= depositCap, "above the cap");
        shares = previewDeposit(assets);
        shares -= shares * slipBps / 10000;
        require(Erc20(asset).transferFrom(msg.sender, address(this), assets), "transfer failed");
        totalSupply += shares;
        balanceOf[receiver] += shares;
        emit Transfer(address(0), receiver, shares);
        emit Deposit(msg.sender, receiver, assets, shares);
    }

    function redeem(uint256 shares, address receiver, address owner) external returns (uint256 assets) {
        require(!isClosed, "closed");
        require(shares <= redeemCap, "above the cap");
        if (msg.sender != owner) allowance[owner][msg.sender] -= shares;
        assets = previewRedeem(shares);
        assets -= assets * slipBps / 10000;
        balanceOf[owner] -= shares;
        totalSupply -= shares;
        emit Transfer(owner, address(0), shares);
        require(Erc20(asset).transfer(receiver, assets), "transfer failed");
        emit Withdraw(msg.sender, receiver, owner, assets, shares);
    }

    function approve(address spender, uint256 value) external returns (bool) {
        allowance[msg.sender][spender] = value;
        emit Approval(msg.sender, spender, value);
        return true;
    }

    function transfer(address to, uint256 value) external returns (bool) {
        balanceOf[msg.sender] -= value;
        balanceOf[to] += value;
        emit Transfer(msg.sender, to, value);
        return true;
    }
}
"""
