/// What a task of several steps has done so far, to be undone when a later step fails.

import Error "mo:core/Error";
import Iter "mo:core/Iter";
import List "mo:core/List";
import Text "mo:core/Text";
import Errors "../common/Errors";

module {
  let roundsOfCall = 2; // a call is executed in the round after the one that makes it, its answer in the next

  /// `step`: the one that is being done; `rounds`: of the calls that an LLM's creation has made; `skipped`: steps that were left out, and why; `notes`: what else is to be told.
  public type Progress = {
    var step : Text;
    var rounds : Nat;
    undo : List.List<(Text, () -> async* ())>;
    skipped : List.List<Text>;
    notes : List.List<Text>;
  };

  public func new() : Progress = { var step = ""; var rounds = 1; undo = List.empty(); skipped = List.empty(); notes = List.empty() };

  /// The next step of an LLM's creation: a call, or some at once.
  public func next(progress : Progress, step : Text) {
    progress.step := step;
    calls(progress, 1);
  };

  /// So many calls are made one after the other.
  public func calls(progress : Progress, count : Nat) { progress.rounds += roundsOfCall * count };

  /// Carries out a step by a method that is not in the known interface of `whose`, which may lack it; whether it has it.
  public func ifOffered(progress : Progress, method : Text, whose : Text, step : () -> async* ()) : async* Bool {
    progress.step := method;
    try { await* step(); true } catch error {
      await* leaveOut(progress, method, whose, error);
      false;
    };
  };

  /// Notes that `whose` has no such method; throws `error` if it says something else.
  public func leaveOut(progress : Progress, method : Text, whose : Text, error : Error.Error) : async* () {
    if (not Errors.isMissingMethod(error)) throw error;
    progress.skipped.add(method # ", which " # whose # " does not offer");
  };

  /// What of `progress` belongs into an answer.
  public func skippedIn(progress : Progress) : Text {
    if (progress.skipped.isEmpty()) "" else "; left out: " # progress.skipped.values().join("; ");
  };

  /// Undoes what was done, newest first, and says in words what failed, and what could not be undone.
  public func undone(progress : Progress, fault : Text) : async* Text {
    var text = "step " # progress.step # ": " # fault;
    for ((what, undo) in progress.undo.reverseValues()) {
      try { await* undo() } catch error text #= "; could not " # what # ": " # reason(error);
    };
    text;
  };

  public func reason(error : Error.Error) : Text = if (Errors.isMissingMethod(error)) "it does not offer that" else error.message();
};
