/// Asks an LLM canister: feeds the prompt, then generates until the LLM is done; a call does only as many tokens as fit in
/// it.

import Array "mo:core/Array";
import Char "mo:core/Char";
import Error "mo:core/Error";
import Iter "mo:core/Iter";
import Nat "mo:core/Nat";
import Nat32 "mo:core/Nat32";
import Text "mo:core/Text";
import Actors "Actors";
import Errors "Errors";
import Types "Types";
import Thoughts "Thoughts";

module {
  let maxCalls = 30; // of run_update for one text
  let promptTooLong : Types.StatusCode = 413;

  /// What an LLM is asked for. `cache`: the prompt cache of this conversation; `prompt`: as a whole, in the model's form;
  /// `cue`: what it ends with beyond the question, as the beginning of the answer; `generatingCalls`: calls that generate, at
  /// most; `generatedTokens`: of one such call; `grammar`: of what is generated, in llama.cpp's GBNF; `isComplete`: whether a
  /// text needs nothing more.
  public type Request = {
    cache : Text;
    prompt : Text;
    cue : Text;
    stop : [Text];
    seed : Nat32;
    temperature : Text;
    generatingCalls : Nat;
    generatedTokens : Nat;
    grammar : ?Text;
    isComplete : Text -> Bool;
  };

  /// `unanswerable`: it was not for want of a working LLM.
  public type Reply = { #text : Text; #failed : Text; #unanswerable : Text };

  /// The text, without thoughts and up to the first stop, or why the LLM has none. Throws when it cannot be asked.
  public func ask(canister : Actors.Llm, request : Request) : async* Reply {
    await* Errors.check("health", await canister.health());
    ignore await* Errors.checkOutput("new_chat", await canister.new_chat({ args = ["--prompt-cache", request.cache] }));
    var text = "";
    var calls = 0;
    var generatingCalls = 0;
    var next = request.prompt;
    while (calls < maxCalls and generatingCalls < request.generatingCalls) {
      let result = await canister.run_update({ args = arguments(request, next) });
      switch result {
        case (#Err(output)) if (output.status_code == promptTooLong) return #unanswerable(output.error # " (status code 413)");
        case (#Ok(_)) {};
      };
      let output = await* Errors.checkOutput("run_update", result);
      calls += 1;
      text #= output.output;
      if (output.prompt_remaining == "") {
        if (output.generated_eog or request.isComplete(text)) return #text(trimmed(text, request));
        generatingCalls += 1;
        next := "";
      };
    };
    if (generatingCalls == 0) #unanswerable("the prompt was not finished after " # calls.toText() # " calls of run_update") else #text(trimmed(text, request));
  };

  /// Removes what the LLM keeps of a conversation; why not, if it could not.
  public func forget(canister : Actors.Llm, cache : Text) : async* ?Text {
    try {
      ignore await* Errors.checkOutput("remove_prompt_cache", await canister.remove_prompt_cache({ args = ["--prompt-cache", cache] }));
      null;
    } catch error ?error.message();
  };

  func arguments(request : Request, prompt : Text) : [Text] {
    let fixed = [
      "--prompt-cache", request.cache, "--prompt-cache-all", "--simple-io", "--no-display-prompt", "-n", request.generatedTokens.toText(),
      "--seed", request.seed.toText(), "--temp", request.temperature, "-p", prompt,
    ];
    let grammar = switch (request.grammar) { case (?rules) ["--grammar", rules]; case null [] };
    fixed.concat(grammar).concat(request.stop.map<Text, [Text]>(func stop = ["--reverse-prompt", stop]).flatten());
  };

  /// `text` without thoughts, without white space around it and up to the first stop.
  func trimmed(text : Text, { cue; stop } : Request) : Text {
    let whiteSpace : Text.Pattern = #predicate(func c = c.isWhitespace());
    var answer = Thoughts.without(text, cue).trim(whiteSpace);
    for (end in stop.values()) {
      if (end != "") switch (answer.split(#text end).next()) {
        case (?part) answer := part.trim(whiteSpace);
        case null {};
      };
    };
    answer;
  };
};
