/// Has an LLM canister answer a challenge: feeds the prompt, then generates until the LLM is done; a call does only as many
/// tokens as fit in it.

import Array "mo:core/Array";
import Char "mo:core/Char";
import Iter "mo:core/Iter";
import Nat "mo:core/Nat";
import Nat32 "mo:core/Nat32";
import Text "mo:core/Text";
import Actors "../common/Actors";
import Errors "../common/Errors";
import Types "../common/Types";
import Thoughts "Thoughts";

module {
  let maxCalls = 30; // of run_update for one answer
  let maxGeneratingCalls = 6;
  let temperature = "0.3";
  let promptTooLong : Types.StatusCode = 413;

  /// The answer, or why the LLM has none. Throws when it cannot be asked.
  public func answer(canister : Actors.Llm, cache : Text, seed : Nat32, format : Types.PromptFormat, challenge : Types.Challenge) : async* {
    #answer : Text;
    #failed : Text;
    #unanswerable : Text;
  } {
    await* Errors.check("health", await canister.health());
    ignore await* Errors.checkOutput("new_chat", await canister.new_chat({ args = ["--prompt-cache", cache] }));
    var text = "";
    var calls = 0;
    var generatingCalls = 0;
    var next = prompt(format, challenge);
    while (calls < maxCalls and generatingCalls < maxGeneratingCalls) {
      let result = await canister.run_update({ args = arguments(cache, seed, format, next) });
      switch result {
        case (#Err(output)) if (output.status_code == promptTooLong) return #unanswerable(output.error # " (status code 413)");
        case (#Ok(_)) {};
      };
      let output = await* Errors.checkOutput("run_update", result);
      calls += 1;
      text #= output.output;
      if (output.prompt_remaining == "") {
        if (output.generated_eog) return #answer(trimmed(text, format));
        generatingCalls += 1;
        next := "";
      };
    };
    if (generatingCalls == 0) #unanswerable("the prompt was not finished after " # calls.toText() # " calls of run_update") else #answer(trimmed(text, format));
  };

  func prompt(format : Types.PromptFormat, challenge : Types.Challenge) : Text {
    format.prefix # "Give as brief an answer as possible to this question about " # challenge.challengeTopic # ": " # challenge.challengeQuestion # format.suffix;
  };

  func arguments(cache : Text, seed : Nat32, format : Types.PromptFormat, prompt : Text) : [Text] {
    let fixed = [
      "--prompt-cache", cache, "--prompt-cache-all", "--simple-io", "--no-display-prompt", "-n", "1024",
      "--seed", seed.toText(), "--temp", temperature, "-p", prompt,
    ];
    fixed.concat(format.stop.map<Text, [Text]>(func stop = ["--reverse-prompt", stop]).flatten());
  };

  /// `text` without thoughts, without white space around it and up to the first stop.
  func trimmed(text : Text, format : Types.PromptFormat) : Text {
    let whiteSpace : Text.Pattern = #predicate(func c = c.isWhitespace());
    var answer = Thoughts.without(text, format.suffix).trim(whiteSpace);
    for (stop in format.stop.values()) {
      if (stop != "") switch (answer.split(#text stop).next()) {
        case (?part) answer := part.trim(whiteSpace);
        case null {};
      };
    };
    answer;
  };
};
