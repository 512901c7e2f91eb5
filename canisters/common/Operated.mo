/// What operators need of a canister that works by itself for a Game State: maintenance, timers, failures, cycles, and what
/// is under way.
///
/// In maintenance it finishes what is under way and begins nothing; that lasts until a controller ends it, also across
/// upgrades. Timers end with an upgrade: whoever includes this starts them again if `timersStarted`.

import Array "mo:core/Array";
import Cycles "mo:core/Cycles";
import Error "mo:core/Error";
import Nat "mo:core/Nat";
import Nat64 "mo:core/Nat64";
import Principal "mo:core/Principal";
import Queue "mo:core/Queue";
import Text "mo:core/Text";
import Timer "mo:core/Timer";
import Actors "Actors";
import Clock "Clock";
import Errors "Errors";
import Limits "Limits";
import Principals "Principals";
import Types "Types";

/// `calls`: runs and calls here that wait for other canisters; `work`: what is under way and what waits; `unready`: why the
/// timers cannot be started, if so; `actions`: what they run.
mixin (
  self : () -> Principal,
  calls : { var open : Nat },
  work : () -> Types.WorkUnderWay,
  unready : () -> ?Types.ApiError,
  actions : () -> [() -> async* Types.Outcome],
) {
  var gameStateId = "";
  let failures : Queue.Queue<Types.FailureRecord> = Queue.empty(); // oldest first
  var lowCycleBalance = false;
  var timersStarted = false;
  var timerIntervalSeconds = 60;
  var lastTimerRun : ?Nat64 = null; // when a recurring action began last
  var inMaintenance = false;

  transient var timers : [Timer.TimerId] = [];

  transient let maxTimerInterval = 31_536_000; // seconds, a year
  transient let maxSecondsToFirstRun = 5;
  transient let maxFailuresKept = 50;
  transient let secondsPerDay = 86_400;
  transient let callReserve = 100_000_000_000; // cycles that the network sets aside for the response of a call
  transient let minimumBalance = 250_000_000_000;

  // General

  public query func health() : async Types.StatusCodeRecordResult { if (inMaintenance) #Err(Errors.maintenance) else Types.ok };

  public shared query ({ caller }) func whoami() : async Principal { caller };

  public shared query ({ caller }) func amiController() : async Types.StatusCodeRecordResult {
    if (not caller.isController()) return #Err(#StatusCode(401));
    Types.ok;
  };

  // The Game State

  public shared ({ caller }) func setGameStateCanisterId(id : Text) : async Types.StatusCodeRecordResult {
    if (not caller.isController()) return #Err(#StatusCode(401));
    if (Principals.parseCanister(id) == null) return #Err(#Other(Principals.notACanister(id)));
    gameStateId := id;
    Types.ok;
  };

  public query func getGameStateCanisterId() : async Text { gameStateId };

  func gameState() : Actors.GameState = actor (gameStateId);

  // Maintenance

  public shared ({ caller }) func setMaintenanceFlagAdmin(flag : Bool) : async Types.StatusCodeRecordResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    inMaintenance := flag;
    Types.ok;
  };

  public query func getMaintenanceFlagAdmin() : async Types.FlagResult { #Ok({ flag = inMaintenance }) };

  /// What is under way and what waits; `idle`: the canister can be stopped at once, and nothing is lost by it.
  public shared query ({ caller }) func getWorkStatusAdmin() : async Types.WorkStatusResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    #Ok({
      work() with
      timestamp = Clock.now();
      inMaintenance;
      timersStarted;
      timerIntervalSeconds;
      lastTimerRun;
      openCalls = calls.open;
      idle = calls.open == 0;
      lowCycleBalance;
      cycleBalance = Cycles.balance();
    });
  };

  // Failures

  public shared query ({ caller }) func getRecentFailuresAdmin() : async Types.FailuresResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    #Ok(failures.toArray());
  };

  func report(action : Text, challengeId : Text, challengeQueuedId : Text, reason : Text, dropped : Bool) {
    let failure : Types.FailureRecord = {
      timestamp = Clock.now();
      action;
      challengeId;
      challengeQueuedId;
      reason = Limits.clipped(reason, Limits.reasonBytes);
      dropped;
    };
    switch (failures.peekBack()) {
      // The same again, as when each run finds no open challenge: only the time is news.
      case (?last) if ({ failure with timestamp = last.timestamp } == last) ignore failures.popBack();
      case null {};
    };
    failures.pushBack(failure);
    if (failures.size() > maxFailuresKept) ignore failures.popFront();
  };

  // Cycles

  public shared query ({ caller }) func getIssueFlagsAdmin() : async Types.IssueFlagsRetrievalResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    #Ok({ lowCycleBalance });
  };

  /// Whether the balance allows to spend `cycles` and still keep the minimum; says so in lowCycleBalance.
  func canSpend(cycles : Nat) : Types.Result<()> {
    let needed = minimumBalance + cycles;
    lowCycleBalance := Cycles.balance() < needed;
    if (lowCycleBalance) #Err(#InsuffientCycles(needed)) else #Ok;
  };

  /// Gives cycles to another canister, at most `amount`, as far as it can spare them: the minimum and what is frozen stay.
  public shared ({ caller }) func withdrawCyclesAdmin(input : Types.WithdrawalInput) : async Types.WithdrawalResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    let ?canister_id = Principals.parseCanister(input.to) else return #Err(#Other(Principals.notACanister(input.to)));
    calls.open += 1;
    try {
      let status = await Actors.management.canister_status({ canister_id = self() });
      let frozen = status.idle_cycles_burned_per_day * status.settings.freezing_threshold / secondsPerDay;
      let kept = Nat.max(minimumBalance, frozen + callReserve);
      if (Cycles.balance() <= kept) return #Err(#InsuffientCycles(kept));
      let surplus = Cycles.balance() - kept : Nat;
      let cycles = switch (input.amount) { case (?most) Nat.min(most, surplus); case null surplus };
      await (with cycles) Actors.management.deposit_cycles({ canister_id });
      #Ok({ cycles });
    } catch error #Err(#Other("could not withdraw: " # error.message())) finally calls.open -= 1;
  };

  // Timers

  public shared ({ caller }) func startTimerExecutionAdmin() : async Types.AuthRecordResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    switch (unready()) {
      case (?error) return #Err(error);
      case null {};
    };
    startTimers<system>();
    #Ok({ auth = "You started the timers." });
  };

  public shared ({ caller }) func stopTimerExecutionAdmin() : async Types.AuthRecordResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    stopTimers();
    #Ok({ auth = "You stopped the timers." });
  };

  public shared ({ caller }) func setTimerIntervalAdmin(seconds : Nat) : async Types.StatusCodeRecordResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    if (seconds == 0) return #Err(#Other("The interval must be at least one second"));
    switch (Limits.refusal([#number("The interval in seconds", seconds, maxTimerInterval)])) {
      case (?error) return #Err(error);
      case null {};
    };
    timerIntervalSeconds := seconds;
    if (timersStarted) startTimers<system>();
    Types.ok;
  };

  func stopTimers() {
    for (id in timers.values()) Timer.cancelTimer(id);
    timers := [];
    timersStarted := false;
  };

  func startTimers<system>() {
    stopTimers();
    timersStarted := true;
    for (action in actions().values()) startAction<system>(action);
  };

  func startAction<system>(run : () -> async* Types.Outcome) {
    func action() : async () {
      lastTimerRun := ?Clock.now();
      ignore await* run();
    };
    let first = Timer.setTimer<system>(
      #seconds(Nat.min(maxSecondsToFirstRun, timerIntervalSeconds)),
      func() : async () {
        timers := timers.concat([Timer.recurringTimer<system>(#seconds timerIntervalSeconds, action)]);
        await action();
      },
    );
    timers := timers.concat([first]);
  };
};
