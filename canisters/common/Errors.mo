/// Errors in words.

import Error "mo:core/Error";
import Nat "mo:core/Nat";
import Nat16 "mo:core/Nat16";
import Text "mo:core/Text";
import Types "Types";

module {
  public func describe(error : Types.ApiError) : Text {
    switch error {
      case (#Unauthorized) "Unauthorized";
      case (#InvalidId) "InvalidId";
      case (#ZeroAddress) "ZeroAddress";
      case (#FailedOperation) "FailedOperation";
      case (#Other(text)) text;
      case (#StatusCode(code)) "status code " # code.toText();
      case (#InsuffientCycles(needed)) "not enough cycles: " # needed.toText() # " are needed";
    };
  };

  /// What a mAIner answers in maintenance.
  public let maintenance : Types.ApiError = #Other("In maintenance: this mAIner begins nothing and takes nothing until a controller ends that with setMaintenanceFlagAdmin");

  public func isMaintenance(error : Types.ApiError) : Bool {
    switch error {
      case (#Other(text)) text.startsWith(#text "In maintenance");
      case (_) false;
    };
  };

  /// Throws, in words, what `what` answered, unless `result` is Ok.
  public func check(what : Text, result : { #Ok : Any; #Err : Types.ApiError }) : async* () {
    switch result {
      case (#Ok(_)) {};
      case (#Err(error)) throw Error.reject(what # " answered: " # describe(error));
    };
  };

  /// Whether `error` is the network's, that the canister called has no such method. Only the text tells it: the code is
  /// the one of a trap, too, https://internetcomputer.org/docs/references/execution-errors#method-not-found
  public func isMissingMethod(error : Error.Error) : Bool {
    if (error.code() == #canister_reject) return false;
    let text = error.message();
    text.contains(#text "IC0536") or text.contains(#text "has no update method") or text.contains(#text "has no query method");
  };

  /// The output in `result` of an LLM canister. Throws its error.
  public func checkOutput(what : Text, result : Types.OutputRecordResult) : async* Types.RunOutputRecord {
    switch result {
      case (#Ok(output)) output;
      case (#Err(output)) throw Error.reject(what # " answered: " # output.error # " (status code " # output.status_code.toText() # ")");
    };
  };
};
