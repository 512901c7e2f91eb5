/// The Challenger: has an LLM ask a question about a topic of the Game State, and adds it there as a challenge.
///
/// What an LLM writes is taken if it is a question (`Question.of`) that is neither open nor one of the last that were asked
/// here; else another is asked for, with another seed and word to begin with, until `maxAttempts` are used up. Each that is
/// not taken is kept in `failures`, with the reason.

import Array "mo:core/Array";
import Char "mo:core/Char";
import Error "mo:core/Error";
import Iter "mo:core/Iter";
import Nat "mo:core/Nat";
import Nat32 "mo:core/Nat32";
import Nat64 "mo:core/Nat64";
import Principal "mo:core/Principal";
import Queue "mo:core/Queue";
import Random "mo:core/Random";
import Text "mo:core/Text";
import Actors "../common/Actors";
import Clock "../common/Clock";
import Conversation "../common/Conversation";
import Errors "../common/Errors";
import Llms "../common/Llms";
import Operated "../common/Operated";
import Prompt "../common/Prompt";
import Thoughts "../common/Thoughts";
import Types "../common/Types";
import Question "Question";

persistent actor Challenger {

  // State

  let generated : Queue.Queue<Types.GeneratedChallenge> = Queue.empty(); // oldest first
  let random = Random.seedState(Clock.now());
  var serial = 0;

  transient var generating = false;
  transient var answering : ?Types.AnswerUnderWay = null;
  transient let calls = { var open = 0 }; // runs and calls here that wait for other canisters

  // Rules

  transient let maxAttempts = 5; // at a question
  transient let maxKept = 1_000;
  transient let template = "Ask a question about {topic} that people can answer with common knowledge. Do not give the answer. Begin the question with {word}.";

  func self() : Principal = Principal.fromActor(Challenger);

  // What was asked

  public shared query ({ caller }) func getChallengesAdmin() : async Types.GeneratedChallengesResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    #Ok(generated.toArray());
  };

  public shared query ({ caller }) func getChallengesListAdmin() : async Types.GeneratedChallengesResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    #Ok(generated.toArray());
  };

  // Asking

  public shared ({ caller }) func generateNewChallenge() : async Types.GeneratedChallengeResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    await* generate();
  };

  func runByTimer() : async* Types.Outcome {
    switch (await* generate()) {
      case (#Ok(challenge)) #done(challenge.generationId);
      case (#Err(error)) #failed(error);
    };
  };

  func generate() : async* Types.GeneratedChallengeResult {
    if (inMaintenance) return #Err(Errors.maintenance);
    if (generating) return #Err(#Other("A challenge is already being generated"));
    if (gameStateId == "") return #Err(#Other("The Game State is not known: give it with setGameStateCanisterId"));
    generating := true;
    calls.open += 1;
    let result = try { await* ofTopic() } catch error #Err(#Other(error.message())) finally { generating := false; calls.open -= 1 };
    switch result {
      case (#Err(error)) report("generate", "", "", Errors.describe(error), true);
      case (#Ok(_)) {};
    };
    result;
  };

  /// A new challenge of a topic that the Game State gives. Throws when a canister cannot be asked.
  func ofTopic() : async* Types.GeneratedChallengeResult {
    switch (canSpend(0)) {
      case (#Err(error)) return #Err(error);
      case (#Ok) {};
    };
    let topic = switch (await gameState().getRandomOpenChallengeTopic()) {
      case (#Ok(topic)) topic;
      case (#Err(error)) return #Err(#Other("getRandomOpenChallengeTopic of the Game State: " # Errors.describe(error)));
    };
    let open = switch (await gameState().getCurrentChallenges()) {
      case (#Ok(challenges)) challenges;
      case (#Err(error)) return #Err(#Other("getCurrentChallenges of the Game State: " # Errors.describe(error)));
    };
    let known = open.map(func challenge = challenge.challengeQuestion).concat(generated.values().map(func one = one.generatedChallengeText).toArray());
    let challenge = switch (await* ask(topic, known)) {
      case (#Ok(challenge)) challenge;
      case (#Err(error)) return #Err(error);
    };
    let input : Types.NewChallengeInput = { topic with challengeQuestion = challenge.generatedChallengeText; challengeQuestionSeed = challenge.generationSeed };
    switch (await gameState().addChallenge(input)) {
      case (#Ok(_)) {};
      case (#Err(error)) return #Err(#Other("addChallenge of the Game State: " # Errors.describe(error)));
    };
    generated.pushBack(challenge);
    if (generated.size() > maxKept) ignore generated.popFront();
    #Ok(challenge);
  };

  /// A question that is none of `known`.
  func ask(topic : Types.ChallengeTopic, known : [Text]) : async* Types.GeneratedChallengeResult {
    for (_ in Nat.range(0, maxAttempts)) {
      let (challenge, found) = await* draw(topic);
      let reason = switch found {
        case (#none(reason)) reason;
        case (#question(question)) {
          if (not known.any(func other = Question.same(question, other))) return #Ok({ challenge with generatedChallengeText = question });
          "it is open already, or was asked before";
        };
      };
      report("filter", "", "", "LLM " # challenge.generatedByLlmId # " wrote \"" # challenge.generatedChallengeText # "\": " # reason, false);
    };
    #Err(#Other("No question about " # topic.challengeTopic # " that can be used after " # maxAttempts.toText() # " attempts: given up"));
  };

  /// What an LLM writes when it is asked for a question, and the question in that.
  func draw({ challengeTopic } : Types.ChallengeTopic) : async* (Types.GeneratedChallenge, { #question : Text; #none : Text }) {
    let id = await* takeTurn();
    serial += 1;
    let generationId = Clock.id("question", serial);
    let word = Question.words[Random.seedFromState(random).natRange(0, Question.words.size())];
    let opening = if (Thoughts.areBegun(promptFormat.suffix)) "" else word; // the answer begins with it, so the model goes on with a question
    let request : Conversation.Request = {
      cache = generationId # ".cache";
      prompt = promptFormat.prefix # Prompt.filled(promptTemplate(), [("{topic}", challengeTopic), ("{word}", word)]) # promptFormat.suffix # opened(opening);
      cue = promptFormat.suffix;
      stop = promptFormat.stop;
      seed = Nat32.fromNat(Nat64.toNat(Random.seedFromState(random).nat64Range(0, 0x1_0000_0000)));
      temperature = "0.7";
      generatingCalls = 6;
      generatedTokens = 1024;
      grammar = null;
      isComplete = func text = opening != "" and text.contains(#char '?');
    };
    let canister : Actors.Llm = llm(id);
    answering := ?{ challengeId = ""; challengeQueuedId = generationId; canister_id = id; since = Clock.now() };
    let (generatedChallengeText, found) = switch (try { await* Conversation.ask(canister, request) } catch error throw Error.reject("LLM " # id # ": " # error.message()) finally answering := null) {
      case (#text(text)) { let whole = Question.begun(opening, text); (whole, Question.of(whole)) };
      case (#failed(reason) or #unanswerable(reason)) ("", #none(reason));
    };
    switch (await* Conversation.forget(canister, request.cache)) {
      case (?reason) report("clean up", "", generationId, "LLM " # id # ": " # reason, false);
      case null {};
    };
    ({ generationId; generationSeed = request.seed; generatedTimestamp = Clock.now(); generatedByLlmId = id; generationPrompt = request.prompt; generatedChallengeText }, found);
  };
  /// The beginning of an answer as it is put behind the prompt.
  func opened(opening : Text) : Text = if (opening == "" or promptFormat.suffix.endsWith(#predicate(func c = c.isWhitespace()))) opening else " " # opening;

  // What timers run, and what is under way

  func work() : Types.WorkUnderWay = {
    queueSize = 0;
    oldestQueuedTimestamp = null;
    unsent = 0;
    undelivered = 0;
    oldestUndeliveredTimestamp = null;
    answering;
    pulling = generating;
    delivering = 0;
  };

  include Llms(calls, func() : ?Text = null, template, ["{topic}"]);

  include Operated(self, calls, work, func() : ?Types.ApiError = null, func() : [() -> async* Types.Outcome] = [runByTimer]);

  if (timersStarted) startTimers<system>();
};
