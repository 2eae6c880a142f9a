"""The exception tree: every failure the engine raises on purpose.

::

    TradingDagsterError
      BadInput                       what a user gave is wrong; the message says which field, which value, what to do
        CandleContractBroken         market data breaks the candle contract
        MarketDataMissing            the data asked for is not in the lake or the file
        LakeNotSupported             a lake was written by a newer version
        UnknownPair, UnknownAsset    a description, id or address that is not in the universe
        ParameterError               (ParameterMissing, ParameterTypeInvalid)
        StrategyModuleNotValid       a strategy file that cannot be used
        BadConfiguration             deployment, folder, option
      DataUnavailable                a sample is missing at a time
        CandleSampleUnavailable, LiquidityDataUnavailable, NoLendingData, DataTooOld, NoNewDataReceived, PoolEmpty,
        SourceUnavailable
      IndicatorError                 (see the classes below)
      StrategyFailed                 decide_trades raised, or broke the protocol
        TradesNotReturned
      ChartFailed                    the function of a chart raised
      TradeError                     a trade that may not be planned or executed
        NotEnoughMoney, NotEnoughCashForBuys, TooSmallTrade, OutOfSimulatedBalance, BacktestExecutionFailed ...
        TradeLimitExceeded, TokenUnsafe, ApprovalMissing
      LedgerError                    the ledger or a snapshot is inconsistent
        StorageFailed, SnapshotOutdated, PartitionPredecessorMissing, AccountingMismatch
          LedgerBusy                 (a StorageFailed) another process held the database for too long
        LedgerConflict               a writer's view of the ledger is stale, or it writes other content in a used place
        SchemaNotSupported           a database was made by a newer version
        LeaseLost                    another executor took over the strategy or the wallet
        ExecutorBusy                 another executor holds the strategy or its wallet
        UncleanState                 a trade's end is not known yet
        UnexpectedAccountingCorrectionIssue  real balances differ from the ledger
      EvmError                       a chain, a node, a wallet or a transaction is not as it must be
        NodeError                    (NodeUnavailable, NodeAnswerInvalid, NodeRefused, BlockUnavailable, ChainHalted)
          EventsMissing              (a NodeAnswerInvalid) a contract's events do not add up to its state
        ClockSkewed                  this machine's clock is behind the chain's time
        WrongChain                   a node serves another chain than the one traded on
        CallReverted                 a contract refused a call
        ContractMissing              an address without the code it must have
        SigningKeyUnusable           the key is absent, malformed, or about to leak
        GasMissing                   a wallet cannot pay for transactions
        IntentConflict               the exactly-once protocol refuses a second use of an id, a nonce or an end

Errors that ported strategies catch as ``AssertionError`` derive from it as well.
"""


class TradingDagsterError(Exception):
    """Root of all errors raised on purpose."""


class BadInput(TradingDagsterError):
    """What the user gave is wrong; the message names the field, the value and the remedy."""


class CandleContractBroken(BadInput):
    """Candles have duplicates, impossible prices, a wrong order, or a wrong time zone."""


class MarketDataMissing(BadInput):
    """The asked range or pair is not in the data."""


class LakeNotSupported(BadInput):
    """A file of the lake was written by a newer version."""


class UnknownPair(BadInput, KeyError):
    """A pair description, id or address is not in the universe."""

    def __str__(self) -> str:
        """Return the message without the quotes that KeyError adds."""
        return str(self.args[0]) if self.args else ""


class UnknownAsset(UnknownPair):
    """A token symbol or address is not in the universe."""


class NaiveDatetimeRequired(BadInput, AssertionError):
    """A zone-aware datetime was handed in where strategies use naive UTC."""


class UtcDatetimeRequired(BadInput):
    """A naive or non-UTC datetime was handed in where an aware UTC one is needed."""


class ParameterError(BadInput):
    """Strategy parameters are unusable."""


class ParameterMissing(ParameterError, AttributeError, KeyError):
    """A needed strategy parameter is not defined."""

    def __str__(self) -> str:
        """Return the message without the quotes that KeyError adds."""
        return str(self.args[0]) if self.args else ""


class ParameterTypeInvalid(ParameterError, TypeError):
    """A strategy parameter has the wrong type."""


class ChartNotValid(BadInput, AssertionError):
    """A function that cannot be registered as a chart."""


class UnknownChart(BadInput, KeyError):
    """No chart of that id is registered."""

    def __str__(self) -> str:
        """Return the message as it is; KeyError would quote it."""
        return str(self.args[0]) if self.args else ""


class StrategyModuleNotValid(BadInput):
    """A strategy file is missing, does not parse or lacks something the protocol requires."""


class BadConfiguration(BadInput):
    """A folder, option or deployment setting is unusable."""


class DataUnavailable(TradingDagsterError):
    """Market data has no sample for a time."""


class CandleSampleUnavailable(DataUnavailable):
    """No candle at the time or within the tolerance before it."""


class LiquidityDataUnavailable(DataUnavailable):
    """No TVL sample at the time or within the tolerance before it."""


class PoolEmpty(DataUnavailable):
    """A pool has nothing to trade against, so there is no price."""


class TVLReadError(DataUnavailable):
    """A size-risk model needs a TVL that is not known."""


class NoLendingData(DataUnavailable):
    """No lending rate at the time."""


class DataTooOld(DataUnavailable):
    """The newest candle or TVL row is older than allowed."""


class NoNewDataReceived(DataUnavailable):
    """Waiting for new candles timed out."""


class SourceUnavailable(DataUnavailable):
    """An exchange or a data service did not answer, or not as it should; asking again later may help."""


class NotEnoughHistory(BadInput):
    """The data begins too late for the history a strategy requires."""


class IndicatorError(TradingDagsterError):
    """Something is wrong with an indicator's definition, calculation or look-up."""


class IndicatorFunctionSignatureMismatch(IndicatorError):
    """A parameter name is not an argument of the indicator function."""


class IndicatorDefinedTwice(IndicatorError):
    """Two indicators share a name."""


class NotYetDefined(IndicatorError):
    """A dependency is not defined before the indicator that needs it."""


class IndicatorOrderError(IndicatorError):
    """A resolver asked for an indicator of an equal or higher order."""


class IndicatorDependencyResolutionError(IndicatorError):
    """No or several variations match a request without parameters."""


class IndicatorCalculationFailed(IndicatorError):
    """The indicator function raised; the message names indicator, pair, parameters and rows."""


class IndicatorNotFound(IndicatorError, KeyError):
    """No indicator of that name is defined."""

    def __str__(self) -> str:
        """Return the message without the quotes that KeyError adds."""
        return str(self.args[0]) if self.args else ""


class NoIndicatorError(IndicatorError):
    """The indicator is defined but was not calculated."""


class IndicatorWithVariations(IndicatorError):
    """The indicator has several parameter variations and none was named."""


class InvalidForMultipairStrategy(IndicatorError):
    """A pair must be named in a universe of several pairs."""


class IndicatorDataNotFoundWithinDataTolerance(IndicatorError):
    """The latest indicator value is older than the tolerance."""


class LookaheadRefused(IndicatorError, AssertionError):
    """A decision asked for data that did not exist at its time."""


class StrategyFailed(TradingDagsterError):
    """decide_trades raised; the message has cycle, timestamp and traceback."""


class GridRunFailed(TradingDagsterError):
    """A combination of a grid search raised an error that other processes cannot read; the message has its text."""


class SearchPointTimedOut(TradingDagsterError):
    """A point of an optimisation took longer than it may; it counts as one that failed."""


class SearchFailed(TradingDagsterError):
    """An optimisation found no point that may be used: all failed, or none passed the filter of results."""


class WorkerDied(TradingDagsterError):
    """A process of a search ended without an answer, as when memory runs out; what was kept stays."""


class TradesNotReturned(StrategyFailed, RuntimeError):
    """A position was planned in the cycle but decide_trades returned no trades."""


class DuplicateTrade(StrategyFailed, AssertionError):
    """decide_trades returned the same trade twice."""


class ChartFailed(TradingDagsterError):
    """The function of a chart raised; the message names the chart and has the traceback."""


class TradeError(TradingDagsterError):
    """A trade may not be planned or executed."""


class InvalidTrade(TradeError, AssertionError):
    """A trade request breaks a rule: sign, size, trigger level, pair or position."""


class VaultClosed(InvalidTrade):
    """A vault takes no deposit, or gives no redemption, of that size now."""


class SettlementPending(InvalidTrade):
    """A vault has an order of the position that did not settle yet."""


class BadWeightsException(TradeError):
    """The weights of a portfolio do not sum to 1."""


class LiquidationRisked(TradeError, AssertionError):
    """A loan would be liquidated as soon as it is made or changed."""


class InterestImplausible(TradeError, AssertionError):
    """Interest of one step is negative or too much to be true: the lending rates are wrong."""


class TooSmallTrade(TradeError):
    """A trade is smaller than the dust epsilon."""


class NotEnoughMoney(TradeError):
    """A started trade needs more reserve than there is cash."""


class NotEnoughCashForBuys(TradeError):
    """The buys of a cycle need more than cash and sells bring."""


class NoSingleOpenPositionException(TradeError):
    """There is none, or more than one, open position."""


class DoubleOpenPosition(TradeError, AssertionError):
    """Two open positions on one pair."""


class AutoClosingOrderUnsupported(TradeError):
    """A stop loss or take profit was asked for but there is no stop-loss feed to check it."""


class PriceImpactToleranceExceeded(TradeError):
    """A trade would move the price more than allowed."""


class FeeMissing(TradeError, AssertionError):
    """A pair has no fee and missing fees are not allowed."""


class OutOfSimulatedBalance(TradeError):
    """The simulated wallet would go negative."""


class BacktestExecutionFailed(TradeError):
    """A simulated execution failed; the message lists planned trades and cash."""


class ApprovalMissing(TradeError):
    """Nobody approved the trades of a cycle in time."""


class TradeLimitExceeded(TradeError):
    """A trade is larger, or losses are, than the deployment allows."""


class TokenUnsafe(TradeError):
    """A token cannot be sold again, or takes a tax from transfers."""


class LedgerError(TradingDagsterError):
    """The ledger, the state or a snapshot is inconsistent."""


class IntegrityError(LedgerError, AssertionError):
    """The state breaks one of its invariants."""


class SerialisationRefused(LedgerError):
    """A value cannot be stored: integers above 2^53, zone-aware times, NaN keys."""


class AccountingMismatch(LedgerError):
    """Ledger and wallet disagree."""


class StorageFailed(LedgerError):
    """A file could not be written: the disk is full, or the folder may not be written to."""


class LedgerBusy(StorageFailed):
    """Another process held the database for longer than the busy timeout; nothing was written."""


class LedgerConflict(LedgerError):
    """A writer's view of the ledger is stale, or it brings other content for a sequence number in use."""


class SchemaNotSupported(LedgerError):
    """A database has tables that this version does not know."""


class LeaseLost(LedgerError):
    """Another executor took over the strategy or the wallet; nothing was written."""


class ExecutorBusy(LedgerError):
    """Another executor holds the strategy or its wallet."""


class UncleanState(LedgerError):
    """A trade's end is not known yet, so nothing new may be decided."""


class UnexpectedAccountingCorrectionIssue(LedgerError):
    """What the strategy really has is not what its ledger says."""


class SnapshotOutdated(LedgerError):
    """A snapshot does not continue from its predecessor as it is now."""


class PartitionPredecessorMissing(LedgerError):
    """The partition before the one asked for has not been computed."""


class EvmError(TradingDagsterError):
    """A chain, a node, a wallet or a transaction is not as it must be."""


class NodeError(EvmError):
    """A node did not give the answer asked for; nothing is known about the chain."""


class NodeUnavailable(NodeError):
    """No endpoint answered in time, or none is close enough to the head of the chain."""


class NodeAnswerInvalid(NodeError):
    """A node's answer is not what the JSON-RPC specification says."""


class EventsMissing(NodeAnswerInvalid):
    """The events that a node gave do not add up: some are missing; ``block`` is where that shows."""

    def __init__(self, message: str, block: int) -> None:
        super().__init__(message)
        self.block = block


class NodeRefused(NodeError):
    """A node answered with an error that is no revert; ``code`` is the JSON-RPC error code."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class BlockUnavailable(NodeError):
    """A block is not known to the node: not yet, not any more, or its state is pruned."""


class ChainHalted(NodeError):
    """The newest block is too old: the chain stands still, or every node is far behind."""


class ClockSkewed(EvmError):
    """The newest block is of the future: this machine's clock is behind."""


class WrongChain(EvmError):
    """A node serves another chain than the one traded on."""


class CallReverted(EvmError):
    """A contract refused a call; ``data`` is what it returned with the refusal."""

    def __init__(self, message: str, data: str = "0x") -> None:
        super().__init__(message)
        self.data = data


class ContractMissing(EvmError):
    """An address has no code, or not the code that answers the question."""


class SigningKeyUnusable(EvmError):
    """A private key is absent, malformed, or was about to be copied; the message never has the key."""


class GasMissing(EvmError):
    """A wallet has less of the chain's native token than a strategy needs to trade."""


class IntentConflict(EvmError):
    """An intent's id, nonce or state is already taken by something else."""
