/// The Judge: takes submissions from the Game State, has an LLM grade them from 1 to 5, and hands the scores in.
///
/// A submission that was taken is kept in `taken` until its score is handed in or it is given back, also when a run is cut
/// off: then the next run goes on with it. If no LLM gives a grade after `maxAttempts`, or none works, the Game State gets
/// the submission back, to be judged again. Every failure is kept in `failures`.

import Error "mo:core/Error";
import Nat "mo:core/Nat";
import Nat32 "mo:core/Nat32";
import Nat64 "mo:core/Nat64";
import Principal "mo:core/Principal";
import Queue "mo:core/Queue";
import Random "mo:core/Random";
import Set "mo:core/Set";
import Text "mo:core/Text";
import Actors "../common/Actors";
import Clock "../common/Clock";
import Conversation "../common/Conversation";
import Errors "../common/Errors";
import Llms "../common/Llms";
import Operated "../common/Operated";
import Prompt "../common/Prompt";
import Types "../common/Types";
import Grade "Grade";

persistent actor Judge {

  // State

  let scored : Queue.Queue<Types.ScoredResponseByJudge> = Queue.empty(); // oldest first
  var taken : ?Types.ChallengeResponseSubmission = null; // neither scored nor given back yet
  var graded : ?Types.JudgeScore = null; // of the one that is taken, not handed in yet
  let prefixes : Queue.Queue<(Text, Text)> = Queue.empty(); // LLM and prompt cache of a question, oldest first
  let random = Random.seedState(Clock.now());
  var serial = 0;

  transient var judging = false;
  transient var answering : ?Types.AnswerUnderWay = null;
  transient let calls = { var open = 0 }; // runs and calls here that wait for other canisters
  transient let withoutGrammar : Set.Set<Text> = Set.empty(); // LLMs that take none

  // Rules

  transient let maxAttempts = 3; // at a grade
  transient let maxJudgedByTimer = 20; // in a row
  transient let maxKept = 1_000;
  transient let maxPrefixes = 10;
  transient let firstSeed : Nat32 = 42; // with temperature 0, of the first attempt
  transient let template = "Grade the answer to this question by its correctness.\nQuestion: {question}\nThe grades:\n1 = completely wrong\n2 = mostly wrong\n3 = partly correct\n4 = mostly correct\n5 = completely correct\nAnswer: {answer}\nReply with the grade alone, a number from 1 to 5.";

  func self() : Principal = Principal.fromActor(Judge);

  /// The scores that were handed in, oldest first, each with what the LLM was asked and wrote.
  public shared query ({ caller }) func getScoredResponsesAdmin() : async Types.ScoredResponsesByJudgeResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    #Ok(scored.toArray());
  };

  // Judging

  public shared ({ caller }) func triggerScoreSubmissionAdmin() : async Types.AuthRecordResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    switch (await* judge()) {
      case (#done(text)) #Ok({ auth = text });
      case (#nothing(text)) #Err(#Other(text));
      case (#failed(error)) #Err(error);
    };
  };

  /// As long as there are submissions.
  func runByTimer() : async* Types.Outcome {
    for (_ in Nat.range(0, maxJudgedByTimer)) switch (await* judge()) {
      case (#done(_)) {};
      case (other) return other;
    };
    #done("");
  };

  func judge() : async* Types.Outcome {
    if (inMaintenance) return #failed(Errors.maintenance);
    if (judging) return #nothing("A submission is already being judged");
    if (gameStateId == "") return #failed(#Other("The Game State is not known: give it with setGameStateCanisterId"));
    judging := true;
    calls.open += 1;
    try { await* judgeNext() } catch error failed("judge", #Other(error.message())) finally { judging := false; calls.open -= 1 };
  };

  func failed(action : Text, error : Types.ApiError) : Types.Outcome {
    let (challengeId, queuedId) = switch taken { case (?one) (one.challengeId, one.challengeQueuedId); case null ("", "") };
    report(action, challengeId, queuedId, Errors.describe(error), taken == null);
    #failed(error);
  };

  /// Throws when a canister cannot be asked.
  func judgeNext() : async* Types.Outcome {
    switch (canSpend(0)) {
      case (#Err(error)) return failed("judge", error);
      case (#Ok) {};
    };
    let submission = switch taken {
      case (?kept) kept;
      case null switch (await gameState().getNextSubmissionToJudge()) {
        case (#Ok(next)) { taken := ?next; next };
        case (#Err(#Other(text))) return #nothing(text);
        case (#Err(error)) return failed("take", error);
      };
    };
    let score = switch graded {
      case (?kept) kept;
      case null switch (await* grade(submission)) {
        case (#score(score)) { graded := ?score; score };
        case (#failed(reason)) return await* giveBack(submission, reason, false);
        case (#unjudgeable(reason)) return await* giveBack(submission, reason, true);
      };
    };
    await* handIn(submission, score);
  };

  func handIn(submission : Types.ChallengeResponseSubmission, score : Types.JudgeScore) : async* Types.Outcome {
    let input : Types.ScoredResponseInput = { submission with judgedBy = self(); score = score.generatedScore; scoreSeed = score.generationSeed };
    let result = await gameState().addScoredResponse(input);
    switch result {
      case (#Err(error)) {
        taken := null; // its challenge was closed meanwhile, or another Judge has it
        graded := null;
        report("hand in", submission.challengeId, submission.challengeQueuedId, "addScoredResponse of the Game State: " # Errors.describe(error), true);
        #failed(error);
      };
      case (#Ok(_)) {
        taken := null;
        graded := null;
        scored.pushBack({ input with submissionStatus = #Judged; judgedTimestamp = Clock.now(); judgeScoreRecord = score });
        if (scored.size() > maxKept) ignore scored.popFront();
        #done("Scored submission " # submission.submissionId # " with " # score.generatedScore.toText() # ".");
      };
    };
  };

  /// So that it is judged again. A Game State of the original interface does not take it back.
  func giveBack(submission : Types.ChallengeResponseSubmission, reason : Text, unjudgeable : Bool) : async* Types.Outcome {
    let { challengeId; submissionId; challengeQueuedId } = submission;
    report("judge", challengeId, challengeQueuedId, reason, unjudgeable);
    try {
      switch (await gameState().giveBackSubmission({ challengeId; submissionId; reason; unjudgeable })) {
        case (#Err(error)) report("give back", challengeId, challengeQueuedId, "giveBackSubmission of the Game State: " # Errors.describe(error), true);
        case (#Ok(_)) {};
      };
    } catch error {
      if (not Errors.isMissingMethod(error)) throw error;
      report("give back", challengeId, challengeQueuedId, "the Game State does not offer giveBackSubmission, so it stays at Judging", true);
    };
    taken := null;
    #failed(#Other(reason));
  };

  // Grading

  type Graded = { #score : Types.JudgeScore; #failed : Text; #unjudgeable : Text };

  func grade(submission : Types.ChallengeResponseSubmission) : async* Graded {
    if (submission.challengeQuestion == "" or submission.challengeAnswer == "") return #unjudgeable("its question or its answer is empty");
    var written = "";
    for (attempt in Nat.range(0, maxAttempts)) {
      switch (await* askForGrade(submission, attempt)) {
        case (#score(score)) return #score(score);
        case (#failed(reason)) return #failed(reason);
        case (#unjudgeable(reason)) written := reason;
      };
    };
    #unjudgeable("no grade after " # maxAttempts.toText() # " attempts: " # written);
  };

  func askForGrade(submission : Types.ChallengeResponseSubmission, attempt : Nat) : async* Graded {
    let id = try { await* takeTurn() } catch error return #failed(error.message());
    serial += 1;
    let generationId = Clock.id("judgement", serial);
    let request : Conversation.Request = {
      cache = generationId # ".cache";
      prompt = promptFormat.prefix # Prompt.filled(promptTemplate(), [("{question}", submission.challengeQuestion), ("{answer}", submission.challengeAnswer), ("{topic}", submission.challengeTopic)]) # promptFormat.suffix;
      cue = promptFormat.suffix;
      stop = promptFormat.stop;
      seed = if (attempt == 0) firstSeed else Nat32.fromNat(Nat64.toNat(Random.seedFromState(random).nat64Range(0, 0x1_0000_0000)));
      temperature = if (attempt == 0) "0.0" else "0.7";
      generatingCalls = 3;
      generatedTokens = 16;
      grammar = if (withoutGrammar.contains(id)) null else ?Grade.grammar;
      isComplete = Grade.isComplete;
    };
    answering := ?{ challengeId = submission.challengeId; challengeQueuedId = submission.challengeQueuedId; canister_id = id; since = Clock.now() };
    let said = try { await* askWithPrefix(id, request, submission.challengeId # "-question.cache") } finally answering := null;
    switch said {
      case (#text(generatedScoreText)) switch (Grade.of(generatedScoreText)) {
        case (?generatedScore) #score({ generationId; generationSeed = request.seed; generatedTimestamp = Clock.now(); generatedByLlmId = id; generationPrompt = request.prompt; generatedScoreText; generatedScore });
        case null #unjudgeable("LLM " # id # " wrote \"" # generatedScoreText # "\"");
      };
      case (#unanswerable(reason)) #unjudgeable("LLM " # id # ": " # reason);
      case (#failed(reason)) #failed("LLM " # id # ": " # reason);
    };
  };

  /// Begins with what the LLM keeps of the question (`prefix`, a prompt cache), and has it keep that if it does not yet.
  func askWithPrefix(id : Text, request : Conversation.Request, prefix : Text) : async* Conversation.Reply {
    let canister = llm(id);
    let kept = try { switch (await canister.copy_prompt_cache({ from = prefix; to = request.cache })) { case (#Ok(_)) true; case (#Err(_)) false } } catch _ false;
    let said = await* askWithGrammar(id, canister, request);
    switch said {
      case (#text(_)) if (not kept) await* keepPrefix(id, canister, request.cache, prefix);
      case (_) {};
    };
    switch (await* Conversation.forget(canister, request.cache)) {
      case (?reason) report("clean up", "", "", "LLM " # id # ": " # reason, false);
      case null {};
    };
    said;
  };

  /// An LLM that refuses a grammar is asked without.
  func askWithGrammar(id : Text, canister : Actors.Llm, request : Conversation.Request) : async* Conversation.Reply {
    let said = await* askOnce(canister, request);
    switch (said, request.grammar) {
      case (#failed(_), ?_) {
        let again = await* askOnce(canister, { request with grammar = null });
        switch again {
          case (#failed(_)) {};
          case (_) withoutGrammar.add(id);
        };
        again;
      };
      case (_) said;
    };
  };

  func askOnce(canister : Actors.Llm, request : Conversation.Request) : async* Conversation.Reply {
    try await* Conversation.ask(canister, request) catch error #failed(error.message());
  };

  /// The oldest of what is kept goes when there are too many.
  func keepPrefix(id : Text, canister : Actors.Llm, cache : Text, prefix : Text) : async* () {
    try ignore await canister.copy_prompt_cache({ from = cache; to = prefix }) catch _ return; // it only saves time
    prefixes.pushBack((id, prefix));
    if (prefixes.size() > maxPrefixes) switch (prefixes.popFront()) {
      case (?(oldId, old)) ignore await* Conversation.forget(llm(oldId), old);
      case null {};
    };
  };

  // What timers run, and what is under way

  func work() : Types.WorkUnderWay = {
    queueSize = if (taken == null) 0 else 1;
    oldestQueuedTimestamp = null;
    unsent = 0;
    undelivered = if (graded == null) 0 else 1;
    oldestUndeliveredTimestamp = null;
    answering;
    pulling = judging;
    delivering = 0;
  };

  include Llms(calls, func() : ?Text = null, template, ["{question}", "{answer}"]);

  include Operated(self, calls, work, func() : ?Types.ApiError = null, func() : [() -> async* Types.Outcome] = [runByTimer]);

  if (timersStarted) startTimers<system>();
};
