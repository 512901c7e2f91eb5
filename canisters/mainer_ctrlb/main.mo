/// A mAIner: takes challenges from the Game State, has them answered by its LLM canisters or by a ShareService, and
/// submits the answers.
///
/// Own          pulls challenges, answers and submits them
/// ShareAgent   pulls challenges, sends them to its ShareService and submits the answers that come back
/// ShareService answers what ShareAgents send and sends the answers back
///
/// A challenge waits in `queue` until it is answered, its answer in `answers` until it is delivered: to the Game State,
/// or by a ShareService to the ShareAgent. What fails stays where it is and is tried again at the next run, at most
/// `maxAttempts` times; every failure is kept in `failures`.
///
/// In maintenance it finishes what is under way and begins nothing: it pulls and answers nothing, and takes nothing from
/// others. What they have for it they keep, since its refusal (`Errors.maintenance`) is no attempt.

import Array "mo:core/Array";
import Cycles "mo:core/Cycles";
import Error "mo:core/Error";
import Int "mo:core/Int";
import Iter "mo:core/Iter";
import Map "mo:core/Map";
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
import Limits "../common/Limits";
import Llms "../common/Llms";
import Operated "../common/Operated";
import Principals "../common/Principals";
import Prompt "../common/Prompt";
import Types "../common/Types";

persistent actor MainerController {

  // State

  var mainerType : Types.MainerAgentCanisterType = #NA;
  var shareServiceId = ""; // of a ShareAgent
  let shareAgents : Map.Map<Text, Types.OfficialProtocolCanister> = Map.empty(); // of a ShareService
  let queue : Queue.Queue<Types.ChallengeQueueInput> = Queue.empty(); // oldest first
  let answers : Queue.Queue<Types.ChallengeResponseSubmissionInput> = Queue.empty(); // not yet delivered, oldest first
  let attempts : Map.Map<Text, Nat> = Map.empty(); // failed ones of the current step, by challengeQueuedId
  let submitted : Queue.Queue<Types.ChallengeResponseSubmission> = Queue.empty(); // oldest first
  var cyclesBurnRate : Types.CyclesBurnRate = { cycles = 1_000_000_000_000; timeInterval = #Daily };
  var totalCyclesBurnt = 0;
  let unsent : Set.Set<Text> = Set.empty(); // challengeQueuedId of a ShareAgent's entries that its ShareService has yet to take
  let random = Random.seedState(Clock.now());
  var serial = 0;

  transient var pulling = false;
  transient var processing = false;
  transient var answering : ?Types.AnswerUnderWay = null;
  transient let calls = { var open = 0 }; // runs and calls here that wait for other canisters
  transient let delivering : Set.Set<Text> = Set.empty(); // by challengeQueuedId

  // Rules

  transient let maxQueued = 5;
  transient let maxAttempts = 3;
  transient let maxSubmittedKept = 1000;
  transient let maxTextBytes = 100_000; // of a topic, a question, an answer
  transient let maxShareAgents = 1_000;
  transient let maxNanosecondsAtService : Nat64 = 86_400_000_000_000; // a day, at a ShareService that does not say what it has
  transient let submissionCycles = 100_000_000_000;
  transient let shareServiceCycles = 100_000_000_000;

  func self() : Principal = Principal.fromActor(MainerController);

  // Settings

  public shared ({ caller }) func setMainerCanisterType(newType : Types.MainerAgentCanisterType) : async Types.StatusCodeRecordResult {
    if (not caller.isController()) return #Err(#StatusCode(401));
    stopTimers();
    mainerType := newType;
    Types.ok;
  };

  public query func getMainerCanisterType() : async Types.MainerAgentCanisterTypeResult { #Ok(mainerType) };

  /// The empty text: it has none any more, and what its ShareService has is waited for no longer.
  public shared ({ caller }) func setShareServiceCanisterId(id : Text) : async Types.StatusCodeRecordResult {
    if (not caller.isController()) return #Err(#StatusCode(401));
    if (id != "" and Principals.parseCanister(id) == null) return #Err(#Other(Principals.notACanister(id)));
    shareServiceId := id;
    Types.ok;
  };

  public query func getShareServiceCanisterId() : async Text { shareServiceId };

  public shared ({ caller }) func updateAgentSettings(settings : Types.MainerAgentSettingsInput) : async Types.StatusCodeRecordResult {
    if (not caller.isController()) return #Err(#StatusCode(401));
    switch (Limits.refusal([#number("cycles", settings.cyclesBurnRate.cycles, Limits.number)])) {
      case (?error) return #Err(error);
      case null {};
    };
    cyclesBurnRate := settings.cyclesBurnRate;
    Types.ok;
  };

  // ShareAgents of a ShareService

  public shared ({ caller }) func addMainerShareAgentCanister(input : Types.MainerAgentCanisterInput) : async Types.MainerAgentCanisterResult {
    addShareAgent(caller, input);
  };

  public shared ({ caller }) func addMainerShareAgentCanisterAdmin(input : Types.MainerAgentCanisterInput) : async Types.MainerAgentCanisterResult {
    addShareAgent(caller, input);
  };

  func addShareAgent(caller : Principal, input : Types.MainerAgentCanisterInput) : Types.MainerAgentCanisterResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    if (mainerType != #ShareService) return #Err(#Other("This mAIner is not a ShareService"));
    if (input.canisterType != #MainerAgent or input.mainerAgentCanisterType != #ShareAgent) {
      return #Err(#Other("Unsupported: only a MainerAgent of type ShareAgent can use a ShareService"));
    };
    if (Principals.parseCanister(input.address) == null) return #Err(#Other(Principals.notACanister(input.address)));
    switch (if (shareAgents.containsKey(input.address)) null else Limits.full("ShareAgents", shareAgents.size(), maxShareAgents)) {
      case (?error) return #Err(error);
      case null {};
    };
    let entry : Types.OfficialProtocolCanister = {
      address = input.address;
      canisterType = input.canisterType;
      creationTimestamp = Clock.now();
      createdBy = caller;
      ownedBy = input.ownedBy;
    };
    shareAgents.add(input.address, entry);
    #Ok(entry);
  };

  public shared ({ caller }) func removeMainerShareAgentCanister(input : Types.CanisterRetrieveInput) : async Types.StatusCodeRecordResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    if (not shareAgents.delete(input.address)) return #Err(#InvalidId);
    Types.ok;
  };

  // What a controller may see

  public shared query ({ caller }) func getMainerStatisticsAdmin() : async Types.StatisticsRetrievalResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    #Ok({ totalCyclesBurnt; cycleBalance = Cycles.balance(); cyclesBurnRate });
  };

  public shared query ({ caller }) func getChallengeQueueAdmin() : async Types.ChallengeQueueInputsResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    #Ok(queue.toArray());
  };

  public shared query ({ caller }) func getSubmittedResponsesAdmin() : async Types.ChallengeResponseSubmissionsResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    #Ok(submitted.toArray());
  };

  public shared query ({ caller }) func getRecentSubmittedResponsesAdmin() : async Types.ChallengeResponseSubmissionsResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    #Ok(Array.sliceToArray(submitted.toArray(), Int.max(0, submitted.size() - 5), submitted.size()));
  };

  // Failures

  func failedAttempts(challengeQueuedId : Text) : Nat {
    let count = 1 + (switch (attempts.get(challengeQueuedId)) { case (?n) n; case null 0 });
    attempts.add(challengeQueuedId, count);
    count;
  };

  func removeFromQueue(challengeQueuedId : Text) {
    attempts.remove(challengeQueuedId);
    unsent.remove(challengeQueuedId);
    keepOnly(queue, func(entry : Types.ChallengeQueueInput) : Bool = entry.challengeQueuedId != challengeQueuedId);
  };

  func removeAnswer(challengeQueuedId : Text) {
    attempts.remove(challengeQueuedId);
    keepOnly(answers, func(answer : Types.ChallengeResponseSubmissionInput) : Bool = answer.challengeQueuedId != challengeQueuedId);
  };

  func keepOnly<T>(items : Queue.Queue<T>, wanted : T -> Bool) {
    var left = items.size();
    while (left > 0) {
      let ?item = items.popFront() else return;
      if (wanted(item)) items.pushBack(item);
      left -= 1;
    };
  };

  // First recurring action: a challenge from the Game State into the queue

  func pull() : async* Types.Outcome {
    if (inMaintenance) return #failed(Errors.maintenance);
    if (pulling) return #nothing("A challenge is already being pulled");
    pulling := true;
    calls.open += 1;
    try { await* pullChallenge() } finally { pulling := false; calls.open -= 1 };
  };

  func pullChallenge() : async* Types.Outcome {
    let spending = switch mainerType {
      case (#Own) submissionCycles;
      case (#ShareAgent) shareServiceCycles + submissionCycles;
      case (_) return #failed(#Other("Only a mAIner of type Own or ShareAgent pulls challenges; set the type with setMainerCanisterType"));
    };
    if (gameStateId == "") return #failed(#Other("The Game State is not known: give it with setGameStateCanisterId"));
    if (mainerType == #ShareAgent) {
      dropFromOtherServices();
      if (shareServiceId == "") return #failed(#Other("The ShareService is not known: give it with setShareServiceCanisterId"));
      await* deliverAll();
      await* dropLost();
      switch (await* sendUnsent()) {
        case (#Err(error)) return #failed(error);
        case (#Ok) {};
      };
    };
    if (queue.size() >= maxQueued) return #nothing("The queue is full, nothing is pulled");
    switch (canSpend(spending)) {
      case (#Err(error)) {
        report("pull", "", "", Errors.describe(error), true);
        return #failed(error);
      };
      case (#Ok) {};
    };
    let challenge = switch (try { await gameState().getRandomOpenChallenge() } catch error #Err(#Other(error.message()))) {
      case (#Ok(challenge)) challenge;
      case (#Err(error)) {
        report("pull", "", "", "getRandomOpenChallenge of the Game State: " # Errors.describe(error), true);
        return #failed(error);
      };
    };
    switch (tooLong(challenge)) {
      case (?error) {
        report("pull", Limits.clipped(challenge.challengeId, Limits.idBytes), "", Errors.describe(error), true);
        await* tellGivenUp(challenge.challengeId, Errors.describe(error));
        return #failed(error);
      };
      case null {};
    };
    serial += 1;
    let entry : Types.ChallengeQueueInput = {
      challenge with
      challengeQueuedId = Clock.id("queued", serial);
      challengeQueuedBy = self();
      challengeQueuedTo = switch (if (mainerType == #ShareAgent) Principals.parse(shareServiceId) else null) {
        case (?service) service;
        case null self();
      };
      challengeQueuedTimestamp = Clock.now();
    };
    // Queued before it is sent, so that even an answer that overtakes the acceptance finds it.
    queue.pushBack(entry);
    if (mainerType == #ShareAgent) switch (await* share(entry)) {
      case (#Err(error)) return #failed(error);
      case (#Ok) {};
    };
    #done("Queued challenge " # entry.challengeId # ".");
  };

  /// Has the ShareService take an entry of the queue. One that is in maintenance is asked again at the next run.
  func share(entry : Types.ChallengeQueueInput) : async* Types.Result<()> {
    unsent.add(entry.challengeQueuedId);
    let result = await* sendToShareService(entry);
    unsent.remove(entry.challengeQueuedId);
    switch result {
      case (#Ok(_)) #Ok;
      case (#Err(error)) {
        let dropped = not Errors.isMaintenance(error);
        report("share", entry.challengeId, entry.challengeQueuedId, "addChallengeToShareServiceQueue of " # shareServiceId # ": " # Errors.describe(error), dropped);
        if (dropped) removeFromQueue(entry.challengeQueuedId) else unsent.add(entry.challengeQueuedId);
        #Err(error);
      };
    };
  };

  func sendUnsent() : async* Types.Result<()> {
    for (entry in queue.toArray().values()) {
      if (unsent.contains(entry.challengeQueuedId)) {
        switch (canSpend(shareServiceCycles + submissionCycles)) {
          case (#Err(error)) return #Err(error);
          case (#Ok) {};
        };
        switch (await* share(entry)) {
          case (#Err(error)) return #Err(error);
          case (#Ok) {};
        };
      };
    };
    #Ok;
  };

  /// The error if a part of a challenge is too long to be kept, or null.
  func tooLong(challenge : Types.Challenge) : ?Types.ApiError {
    let ids = Limits.refusal([
      #text("challengeId", challenge.challengeId, Limits.idBytes),
      #text("challengeCreatedBy", challenge.challengeCreatedBy, Limits.idBytes),
      #number("submissionCyclesRequired", challenge.submissionCyclesRequired, Limits.number),
    ]);
    if (ids != null) ids else Limits.challenge(challenge, maxTextBytes, maxTextBytes);
  };

  func sendToShareService(entry : Types.ChallengeQueueInput) : async* Types.ChallengeQueueInputResult {
    let service : Actors.MainerController = actor (shareServiceId);
    try {
      let result = await (with cycles = shareServiceCycles) service.addChallengeToShareServiceQueue(entry);
      totalCyclesBurnt += shareServiceCycles - Cycles.refunded();
      result;
    } catch error #Err(#Other(error.message()));
  };

  /// Takes from a ShareAgent's queue what its ShareService does not have any more: it was installed anew, or could not
  /// hand the challenge back.
  func dropLost() : async* () {
    if (queue.isEmpty()) return;
    let service : Actors.MainerController = actor (shareServiceId);
    let held = try { ?(await service.getChallengesOfShareAgent()) } catch _ null; // one of the original interface does not say
    dropFromQueue("share", func(entry : Types.ChallengeQueueInput) : ?Text {
      if (unsent.contains(entry.challengeQueuedId)) return null;
      switch held {
        case (?ids) if (ids.indexOf(entry.challengeQueuedId) == null) ?("the ShareService " # shareServiceId # " does not have it any more") else null;
        case null if (Clock.now() > entry.challengeQueuedTimestamp + maxNanosecondsAtService) ?("the ShareService " # shareServiceId # " has not answered within a day") else null;
      };
    });
  };

  /// Takes from a ShareAgent's queue what another ShareService has than the one it uses now.
  func dropFromOtherServices() {
    dropFromQueue("share", func(entry : Types.ChallengeQueueInput) : ?Text {
      let to = entry.challengeQueuedTo.toText();
      if (to == shareServiceId) null else ?("it was sent to " # to # ", which is no longer the ShareService");
    });
  };

  /// Drops the entries for which there is a `reason`, and keeps that among the failures.
  func dropFromQueue(action : Text, reason : Types.ChallengeQueueInput -> ?Text) {
    for (entry in queue.toArray().values()) switch (reason(entry)) {
      case (?why) {
        removeFromQueue(entry.challengeQueuedId);
        report(action, entry.challengeId, entry.challengeQueuedId, why, true);
      };
      case null {};
    };
  };

  // A ShareService takes challenges of its ShareAgents

  public shared ({ caller }) func addChallengeToShareServiceQueue(entry : Types.ChallengeQueueInput) : async Types.ChallengeQueueInputResult {
    if (caller.isAnonymous()) return #Err(#Unauthorized);
    if (mainerType != #ShareService) return #Err(#Unauthorized);
    if (not shareAgents.containsKey(caller.toText())) return #Err(#Unauthorized);
    if (entry.challengeQueuedBy != caller or entry.challengeQueuedTo != self()) return #Err(#Unauthorized);
    if (inMaintenance) return #Err(Errors.maintenance);
    if (Cycles.available() < shareServiceCycles) return #Err(#InsuffientCycles(shareServiceCycles));
    switch (tooLong(entry), Limits.refusal([#text("challengeQueuedId", entry.challengeQueuedId, Limits.idBytes)])) {
      case (?error, _) return #Err(error);
      case (_, ?error) return #Err(error);
      case (null, null) {};
    };
    if (queue.any(func(queued) { queued.challengeQueuedId == entry.challengeQueuedId })) return #Err(#Other("This challenge is already queued"));
    if (queue.size() >= maxQueued) return #Err(#Other("The queue of the ShareService is full, try again later"));
    ignore Cycles.accept<system>(shareServiceCycles);
    queue.pushBack(entry);
    #Ok(entry);
  };

  /// The `challengeQueuedId` of what the calling ShareAgent has sent and not got back yet.
  public shared query ({ caller }) func getChallengesOfShareAgent() : async [Text] {
    let waiting = queue.values().filter(func entry = entry.challengeQueuedBy == caller).map(func entry = entry.challengeQueuedId);
    let answered = answers.values().filter(func answer = answer.challengeQueuedBy == caller).map(func answer = answer.challengeQueuedId);
    waiting.concat(answered).toArray();
  };

  // Second recurring action: the oldest challenge of the queue is answered, the answer delivered

  func process() : async* Types.Outcome {
    if (inMaintenance) return #failed(Errors.maintenance);
    if (processing) return #nothing("A challenge is already being answered");
    processing := true;
    calls.open += 1;
    try { await* processOldest() } finally { processing := false; calls.open -= 1 };
  };

  func processOldest() : async* Types.Outcome {
    let spending = switch mainerType {
      case (#Own) submissionCycles;
      case (#ShareService) 0;
      case (_) return #failed(#Other("Only a mAIner of type Own or ShareService answers challenges; set the type with setMainerCanisterType"));
    };
    await* deliverAll();
    let ?entry = queue.peekFront() else return #nothing("The challenge queue is empty.");
    switch (canSpend(spending)) {
      case (#Err(error)) {
        report("answer", entry.challengeId, entry.challengeQueuedId, Errors.describe(error), false);
        return #failed(error);
      };
      case (#Ok) {};
    };
    let answer = switch (try { await* ask(entry) } catch error #failed(error.message())) {
      case (#answer(answer)) answer;
      case (#failed(reason)) {
        await* answerFailed(entry, reason, false);
        return #failed(#Other(reason));
      };
      case (#unanswerable(reason)) {
        await* answerFailed(entry, reason, true);
        return #failed(#Other(reason));
      };
    };
    removeFromQueue(entry.challengeQueuedId);
    answers.pushBack(answer);
    switch (await* deliver(answer)) {
      case (#Ok(text)) #done(text);
      case (#Err(error)) #failed(error);
    };
  };

  /// `unanswerable`: it was not for want of a working LLM.
  func answerFailed(entry : Types.ChallengeQueueInput, reason : Text, unanswerable : Bool) : async* () {
    let dropped = failedAttempts(entry.challengeQueuedId) >= maxAttempts;
    report("answer", entry.challengeId, entry.challengeQueuedId, reason, dropped);
    if (not dropped) return;
    removeFromQueue(entry.challengeQueuedId);
    if (entry.challengeQueuedBy == self()) {
      if (unanswerable) await* tellGivenUp(entry.challengeId, reason);
    } else await* handBack(entry, reason, unanswerable);
  };

  /// Tells the ShareAgent that its challenge is given up. One that cannot be told, as in maintenance, finds out by itself.
  func handBack(entry : Types.ChallengeQueueInput, reason : Text, unanswerable : Bool) : async* () {
    let shareAgent : Actors.MainerController = actor (entry.challengeQueuedBy.toText());
    try {
      await* Errors.check("addChallengeFailureToShareAgent", await shareAgent.addChallengeFailureToShareAgent(entry, reason, ?unanswerable));
    } catch error {
      let why = if (Errors.isMissingMethod(error)) "the ShareAgent does not offer addChallengeFailureToShareAgent, so it was not told" else error.message();
      report("hand back", entry.challengeId, entry.challengeQueuedId, why, true);
    };
  };

  /// Drops what is in the queue, but not what is being answered. Each is among the failures, and the ShareAgents are told.
  public shared ({ caller }) func resetChallengeQueueAdmin() : async Types.StatusCodeRecordResult {
    if (not caller.isController()) return #Err(#StatusCode(401));
    let reason = "a controller took it out of the queue";
    let stuck = queue.values().filter(func entry = not isAnswered(entry.challengeQueuedId)).toArray();
    dropFromQueue("reset", func(entry : Types.ChallengeQueueInput) : ?Text = if (isAnswered(entry.challengeQueuedId)) null else ?reason);
    calls.open += 1;
    try { if (mainerType == #ShareService) for (entry in stuck.values()) await* handBack(entry, reason, false) } finally calls.open -= 1;
    Types.ok;
  };

  func isAnswered(challengeQueuedId : Text) : Bool = switch answering {
    case (?answer) answer.challengeQueuedId == challengeQueuedId;
    case null false;
  };

  /// So that the Game State hands out no more what nobody can answer. One of the original interface cannot be told.
  func tellGivenUp(challengeId : Text, reason : Text) : async* () {
    try { ignore await gameState().reportChallengeGivenUp({ challengeId; reason }) } catch _ {};
  };

  /// The answer of the LLM whose turn it is, or why it has none to this challenge. Throws when it cannot be asked.
  func ask(entry : Types.ChallengeQueueInput) : async* { #answer : Types.ChallengeResponseSubmissionInput; #failed : Text; #unanswerable : Text } {
    let id = await* takeTurn();
    answering := ?{ challengeId = entry.challengeId; challengeQueuedId = entry.challengeQueuedId; canister_id = id; since = Clock.now() };
    try { await* askLlm(id, entry) } finally { answering := null };
  };

  func askLlm(id : Text, entry : Types.ChallengeQueueInput) : async* { #answer : Types.ChallengeResponseSubmissionInput; #failed : Text; #unanswerable : Text } {
    let seed = Nat32.fromNat(Nat64.toNat(Random.seedFromState(random).nat64Range(0, 0x1_0000_0000)));
    let cache = entry.challengeQueuedId # ".cache";
    let request : Conversation.Request = {
      cache;
      prompt = promptFormat.prefix # Prompt.filled(promptTemplate(), [("{topic}", entry.challengeTopic), ("{question}", entry.challengeQuestion)]) # promptFormat.suffix;
      cue = promptFormat.suffix;
      stop = promptFormat.stop;
      seed;
      temperature = "0.3";
      generatingCalls = 6;
      generatedTokens = 1024;
      grammar = null;
      isComplete = func _ = false;
    };
    let said : Conversation.Reply = try { await* Conversation.ask(llm(id), request) } catch error #failed(error.message());
    switch (said, await* Conversation.forget(llm(id), cache)) {
      case (#text(_), ?reason) report("clean up", entry.challengeId, entry.challengeQueuedId, "LLM " # id # ": " # reason, false);
      case (_) {};
    };
    switch said {
      case (#text("")) #unanswerable("LLM " # id # " generated no text for this challenge, or nothing but thoughts");
      case (#text(text)) #answer({ entry with challengeAnswer = text; challengeAnswerSeed = seed; submittedBy = entry.challengeQueuedBy });
      case (#failed(reason)) #failed("LLM " # id # ": " # reason);
      case (#unanswerable(reason)) #unanswerable("LLM " # id # ": " # reason);
    };
  };

  // Answers on their way

  func deliverAll() : async* () {
    for (answer in answers.toArray().values()) ignore await* deliver(answer);
  };

  /// Hands over `answer` and takes it out of `answers`, unless it is to be tried again.
  func deliver(answer : Types.ChallengeResponseSubmissionInput) : async* Types.Result<Text> {
    let id = answer.challengeQueuedId;
    if (delivering.contains(id)) return #Err(#Other("This answer is already being delivered"));
    delivering.add(id);
    try {
      if (mainerType == #ShareService) await* sendToShareAgent(answer) else await* submit(answer);
    } finally { delivering.remove(id) };
  };

  func deliveryRefused(action : Text, answer : Types.ChallengeResponseSubmissionInput, error : Types.ApiError) : Types.Result<Text> {
    report(action, answer.challengeId, answer.challengeQueuedId, Errors.describe(error), true);
    removeAnswer(answer.challengeQueuedId);
    #Err(error);
  };

  func deliveryFailed(action : Text, answer : Types.ChallengeResponseSubmissionInput, reason : Text) : Types.Result<Text> {
    if (failedAttempts(answer.challengeQueuedId) >= maxAttempts) return deliveryRefused(action, answer, #Other(reason));
    report(action, answer.challengeId, answer.challengeQueuedId, reason, false);
    #Err(#Other(reason));
  };

  func sendToShareAgent(answer : Types.ChallengeResponseSubmissionInput) : async* Types.Result<Text> {
    let id = answer.challengeQueuedBy.toText();
    let shareAgent : Actors.MainerController = actor (id);
    let result = try { await shareAgent.addChallengeResponseToShareAgent(answer) } catch error {
      return deliveryFailed("send", answer, error.message());
    };
    switch result {
      case (#Err(error)) if (Errors.isMaintenance(error)) {
        report("send", answer.challengeId, answer.challengeQueuedId, Errors.describe(error), false);
        #Err(error);
      } else deliveryRefused("send", answer, error);
      case (#Ok(_)) {
        removeAnswer(answer.challengeQueuedId);
        #Ok("Sent the answer to challenge " # answer.challengeId # " to ShareAgent " # id # ".");
      };
    };
  };

  func submit(answer : Types.ChallengeResponseSubmissionInput) : async* Types.Result<Text> {
    let cycles = answer.submissionCyclesRequired;
    switch (canSpend(cycles)) {
      case (#Err(error)) {
        report("submit", answer.challengeId, answer.challengeQueuedId, Errors.describe(error), false);
        return #Err(error);
      };
      case (#Ok) {};
    };
    let result = try {
      let result = await (with cycles) gameState().submitChallengeResponse(answer);
      totalCyclesBurnt += cycles - Cycles.refunded();
      result;
    } catch error return deliveryFailed("submit", answer, error.message());
    switch result {
      case (#Err(error)) deliveryRefused("submit", answer, error);
      case (#Ok(metadata)) {
        removeAnswer(answer.challengeQueuedId);
        submitted.pushBack({ answer and metadata });
        if (submitted.size() > maxSubmittedKept) ignore submitted.popFront();
        #Ok("Submitted the answer to challenge " # answer.challengeId # " as " # metadata.submissionId # ".");
      };
    };
  };

  // A ShareAgent gets back what its ShareService made of a challenge

  func checkShareService(caller : Principal, entry : { challengeQueuedId : Text; challengeQueuedBy : Principal; challengeQueuedTo : Principal }) : Types.Result<Types.ChallengeQueueInput> {
    if (mainerType != #ShareAgent or caller.toText() != shareServiceId) return #Err(#Unauthorized);
    if (entry.challengeQueuedBy != self() or entry.challengeQueuedTo != caller) return #Err(#Unauthorized);
    if (inMaintenance) return #Err(Errors.maintenance);
    switch (queue.values().find(func(queued) { queued.challengeQueuedId == entry.challengeQueuedId })) {
      case (?queued) #Ok(queued);
      case null #Err(#InvalidId);
    };
  };

  /// Status code 200: submitted; 202: taken, and to be submitted as soon as that is possible.
  public shared ({ caller }) func addChallengeResponseToShareAgent(response : Types.ChallengeResponseSubmissionInput) : async Types.StatusCodeRecordResult {
    let entry = switch (checkShareService(caller, response)) {
      case (#Ok(entry)) entry;
      case (#Err(error)) return #Err(error);
    };
    switch (Limits.refusal([#text("challengeAnswer", response.challengeAnswer, maxTextBytes)])) {
      case (?error) return #Err(error);
      case null {};
    };
    removeFromQueue(entry.challengeQueuedId);
    let answer : Types.ChallengeResponseSubmissionInput = {
      entry with
      challengeAnswer = response.challengeAnswer;
      challengeAnswerSeed = response.challengeAnswerSeed;
      submittedBy = self();
    };
    answers.pushBack(answer);
    calls.open += 1;
    switch (try { await* deliver(answer) } finally calls.open -= 1) {
      case (#Ok(_)) Types.ok;
      case (#Err(error)) {
        let waiting = answers.any(func(kept) { kept.challengeQueuedId == answer.challengeQueuedId });
        if (waiting) #Ok({ status_code = 202 }) else #Err(error);
      };
    };
  };

  /// The ShareService could not answer a challenge and gives it up; `unanswerable` if it was not for want of a working LLM.
  public shared ({ caller }) func addChallengeFailureToShareAgent(failed : Types.ChallengeQueueInput, reason : Text, unanswerable : ?Bool) : async Types.StatusCodeRecordResult {
    switch (checkShareService(caller, failed)) {
      case (#Err(error)) #Err(error);
      case (#Ok(entry)) {
        removeFromQueue(entry.challengeQueuedId);
        report("share", entry.challengeId, entry.challengeQueuedId, "the ShareService gave up: " # reason, true);
        calls.open += 1;
        try { if (unanswerable == ?true) await* tellGivenUp(entry.challengeId, reason) } finally calls.open -= 1;
        Types.ok;
      };
    };
  };

  // Running the actions

  public shared ({ caller }) func triggerChallengeResponseAdmin() : async Types.AuthRecordResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    let pulled : Types.Outcome = if (mainerType == #ShareService) #nothing("") else await* pull();
    let processed : Types.Outcome = if (mainerType == #ShareAgent) #nothing("") else await* process();
    switch (pulled, processed) {
      case (_, #failed(error)) #Err(error);
      case (#failed(_), #done(text)) #Ok({ auth = text });
      case (#failed(error), #nothing(_)) #Err(error);
      case (#nothing(first), #nothing(second)) #Err(#Other((first # " " # second).trim(#char ' ')));
      case (#done(first) or #nothing(first), #done(second) or #nothing(second)) #Ok({ auth = (first # " " # second).trim(#char ' ') });
    };
  };

  // What timers run, and what is under way

  func unready() : ?Types.ApiError = if (mainerType == #NA) ?#Other("The type of this mAIner is not set: give it with setMainerCanisterType") else null;

  func actions() : [() -> async* Types.Outcome] = switch mainerType {
    case (#ShareService) [process];
    case (#ShareAgent) [pull];
    case (_) [pull, process];
  };

  func work() : Types.WorkUnderWay = {
    queueSize = queue.size();
    oldestQueuedTimestamp = oldest(queue);
    unsent = unsent.size();
    undelivered = answers.size();
    oldestUndeliveredTimestamp = oldest(answers);
    answering;
    pulling;
    delivering = delivering.size();
  };

  /// When the first of `items` was queued.
  func oldest<T <: Types.ChallengeQueueInput>(items : Queue.Queue<T>) : ?Nat64 {
    let ?item = items.peekFront() else return null;
    ?item.challengeQueuedTimestamp;
  };

  include Llms(
    calls,
    func() : ?Text = if (mainerType == #ShareAgent) ?"A ShareAgent has no LLM canisters: its ShareService has them" else null,
    "Give as brief an answer as possible to this question about {topic}: {question}",
    ["{question}"],
  );

  include Operated(self, calls, work, unready, actions);

  if (timersStarted) startTimers<system>();
};
