"""An ERC-7540 vault for tests: a keeper settles requests in parts, pays without a claim, gives back, or loses them."""

REQUEST_VAULT_SOURCE = """
// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

interface Erc20 {
    function balanceOf(address owner) external view returns (uint256);
    function transfer(address to, uint256 value) external returns (bool);
    function transferFrom(address from, address to, uint256 value) external returns (bool);
}

// Anybody may be the keeper. Requests are counted one by one, or all of a controller as number 0.
contract RequestVault {
    struct Order { uint256 pending; uint256 claimable; uint256 paid; uint256 since; }

    string public constant name = "Test shares";
    string public constant symbol = "LATER";
    uint8 public constant decimals = 18;
    address public immutable asset;
    address public share;
    uint256 public totalSupply;
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => bool)) public isOperator;
    mapping(bool => mapping(uint256 => mapping(address => Order))) orders;
    mapping(bool => mapping(address => uint256)) public newest;
    uint256 public kept;          // assets that belong to requests, not to shares
    uint256 public count;
    uint256 public delay = type(uint256).max;  // blocks after which requests settle by themselves
    uint256 public rounding;      // what of a claim cannot be claimed
    bool public depositsLater;
    bool public redemptionsLater;
    bool public isNumbered;
    bool public isClosed;
    bool public isPaused;
    event Transfer(address indexed from, address indexed to, uint256 value);
    event OperatorSet(address indexed controller, address indexed operator, bool approved);
    event DepositRequest(
        address indexed controller, address indexed owner, uint256 indexed requestId, address sender, uint256 assets
    );
    event RedeemRequest(
        address indexed controller, address indexed owner, uint256 indexed requestId, address sender, uint256 shares
    );

    constructor(address asset_) {
        asset = asset_;
        share = address(this);
        depositsLater = redemptionsLater = isNumbered = true;
    }

    function setLater(bool deposits_, bool redemptions_) external {
        depositsLater = deposits_;
        redemptionsLater = redemptions_;
    }
    function setNumbered(bool value) external { isNumbered = value; }
    function setClosed(bool value) external { isClosed = value; }
    function setPaused(bool value) external { isPaused = value; }  // nothing can be claimed
    function setDelay(uint256 blocks) external { delay = blocks; }
    function setRounding(uint256 units) external { rounding = units; }
    function setShare(address value) external { share = value; }
    function setOperator(address operator, bool approved) external returns (bool) {
        isOperator[msg.sender][operator] = approved;
        emit OperatorSet(msg.sender, operator, approved);
        return true;
    }
    function seed(uint256 assets) external { _take(msg.sender, assets); _mint(msg.sender, assets * 1e12); }

    function supportsInterface(bytes4 id) external view returns (bool) {
        return id == 0x01ffc9a7 || id == 0xe3bf0131 || (depositsLater && id == 0xce3bbe50)
            || (redemptionsLater && id == 0x620ee8e4);
    }

    function totalAssets() public view returns (uint256) { return Erc20(asset).balanceOf(address(this)) - kept; }
    function convertToShares(uint256 assets) public view returns (uint256) {
        return totalSupply == 0 ? assets * 1e12 : assets * totalSupply / totalAssets();
    }
    function convertToAssets(uint256 shares) public view returns (uint256) {
        return totalSupply == 0 ? shares / 1e12 : shares * totalAssets() / totalSupply;
    }
    function previewDeposit(uint256 assets) public view returns (uint256) {
        require(!depositsLater, "requests only");
        return convertToShares(assets);
    }
    function previewRedeem(uint256 shares) public view returns (uint256) {
        require(!redemptionsLater, "requests only");
        return convertToAssets(shares);
    }
    function maxDeposit(address controller) external view returns (uint256) {
        return depositsLater ? claimableDepositRequest(newest[true][controller], controller) : type(uint256).max;
    }
    function maxRedeem(address controller) external view returns (uint256) {
        return redemptionsLater
            ? claimableRedeemRequest(newest[false][controller], controller) : balanceOf[controller];
    }

    // Requests

    function requestDeposit(uint256 assets, address controller, address owner) external returns (uint256 id) {
        require(depositsLater && !isClosed, "closed");
        require(owner == msg.sender || isOperator[owner][msg.sender], "not the owner");
        _take(owner, assets);
        kept += assets;
        id = _open(true, assets, controller);
        emit DepositRequest(controller, owner, id, msg.sender, assets);
    }

    function requestRedeem(uint256 shares, address controller, address owner) external returns (uint256 id) {
        require(redemptionsLater && !isClosed, "closed");
        require(owner == msg.sender || isOperator[owner][msg.sender], "not the owner");
        _move(owner, address(this), shares);
        id = _open(false, shares, controller);
        emit RedeemRequest(controller, owner, id, msg.sender, shares);
    }

    function pendingDepositRequest(uint256 id, address controller) public view returns (uint256) {
        return _pending(orders[true][id][controller]);
    }
    function claimableDepositRequest(uint256 id, address controller) public view returns (uint256) {
        return _claimable(orders[true][id][controller]);
    }
    function pendingRedeemRequest(uint256 id, address controller) public view returns (uint256) {
        return _pending(orders[false][id][controller]);
    }
    function claimableRedeemRequest(uint256 id, address controller) public view returns (uint256) {
        return _claimable(orders[false][id][controller]);
    }

    // The keeper

    function settle(bool isDeposit, address controller, uint256 amount) public {
        Order storage order = orders[isDeposit][newest[isDeposit][controller]][controller];
        order.pending -= amount;
        order.claimable += amount;
        if (isDeposit) {
            uint256 shares = convertToShares(amount);
            kept -= amount;
            _mint(address(this), shares);
            order.paid += shares;
        } else {
            uint256 assets = convertToAssets(amount);
            _move(address(this), address(0), amount);
            kept += assets;
            order.paid += assets;
        }
    }

    function giveBack(bool isDeposit, address controller, uint256 amount) external {
        Order storage order = orders[isDeposit][newest[isDeposit][controller]][controller];
        order.pending -= amount;
        if (isDeposit) {
            kept -= amount;
            require(Erc20(asset).transfer(controller, amount), "failed");
        } else {
            _move(address(this), controller, amount);
        }
    }

    function lose(bool isDeposit, address controller, uint256 amount) external {
        orders[isDeposit][newest[isDeposit][controller]][controller].pending -= amount;
    }

    function pay(bool isDeposit, address controller) external {  // without a claim
        Order storage order = orders[isDeposit][newest[isDeposit][controller]][controller];
        settle(isDeposit, controller, order.pending);
        uint256 paid = order.paid;
        order.claimable = order.paid = 0;
        if (isDeposit) {
            _move(address(this), controller, paid);
        } else {
            kept -= paid;
            require(Erc20(asset).transfer(controller, paid), "failed");
        }
    }

    // Claims, or what is done at once

    function deposit(uint256 assets, address receiver) external returns (uint256 shares) {
        return deposit(assets, receiver, msg.sender);
    }

    function deposit(uint256 assets, address receiver, address controller) public returns (uint256 shares) {
        if (!depositsLater) {
            require(!isClosed, "closed");
            shares = convertToShares(assets);
            _take(msg.sender, assets);
            _mint(receiver, shares);
        } else {
            shares = _claim(true, assets, controller);
            _move(address(this), receiver, shares);
        }
    }

    function redeem(uint256 shares, address receiver, address controller) external returns (uint256 assets) {
        if (!redemptionsLater) {
            require(!isClosed && controller == msg.sender, "closed");
            assets = convertToAssets(shares);
            _move(controller, address(0), shares);
        } else {
            assets = _claim(false, shares, controller);
            kept -= assets;
        }
        require(Erc20(asset).transfer(receiver, assets), "failed");
    }

    function transfer(address to, uint256 value) external returns (bool) {
        _move(msg.sender, to, value);
        return true;
    }

    function _claim(bool isDeposit, uint256 amount, address controller) private returns (uint256 part) {
        require(!isPaused, "paused");
        require(controller == msg.sender || isOperator[controller][msg.sender], "not the controller");
        Order storage order = orders[isDeposit][newest[isDeposit][controller]][controller];
        if (order.pending > 0 && _pending(order) == 0) settle(isDeposit, controller, order.pending);
        require(amount > 0 && amount <= order.claimable, "nothing to claim");
        part = order.paid * amount / order.claimable;
        order.claimable -= amount;
        order.paid -= part;
    }

    function _open(bool isDeposit, uint256 amount, address controller) private returns (uint256 id) {
        require(amount > 0, "nothing");
        id = isNumbered ? ++count : 0;
        newest[isDeposit][controller] = id;
        orders[isDeposit][id][controller].pending += amount;
        orders[isDeposit][id][controller].since = block.number;
    }

    function _pending(Order storage order) private view returns (uint256) { return _isDue(order) ? 0 : order.pending; }
    function _claimable(Order storage order) private view returns (uint256) {
        uint256 all = order.claimable + (_isDue(order) ? order.pending : 0);
        return all > rounding ? all - rounding : 0;
    }
    function _isDue(Order storage order) private view returns (bool) {
        return delay != type(uint256).max && block.number >= order.since + delay;
    }
    function _take(address from, uint256 assets) private {
        require(Erc20(asset).transferFrom(from, address(this), assets), "failed");
    }
    function _mint(address to, uint256 value) private {
        totalSupply += value;
        balanceOf[to] += value;
        emit Transfer(address(0), to, value);
    }
    function _move(address from, address to, uint256 value) private {
        balanceOf[from] -= value;
        if (to == address(0)) totalSupply -= value; else balanceOf[to] += value;
        emit Transfer(from, to, value);
    }
}
"""
