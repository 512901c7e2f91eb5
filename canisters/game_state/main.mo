/// The Game State: who takes part in the protocol, the challenges, the answers submitted to them, their scores and
/// the winners.
///
/// A challenge is Open until enough of its submissions are scored, then Closed and ranked; the older half of the Closed ones become
/// Archived when they are too many. One that its mAIners gave up too often, and nobody answered, ends as Other with the reason. A submission goes Submitted -> Judging -> Judged -> Processed.

import Array "mo:core/Array";
import Char "mo:core/Char";
import Cycles "mo:core/Cycles";
import Iter "mo:core/Iter";
import Map "mo:core/Map";
import Nat "mo:core/Nat";
import Nat64 "mo:core/Nat64";
import Order "mo:core/Order";
import Principal "mo:core/Principal";
import PureList "mo:core/pure/List";
import Random "mo:core/Random";
import Set "mo:core/Set";
import Text "mo:core/Text";
import Clock "../common/Clock";
import Limits "../common/Limits";
import Principals "../common/Principals";
import Types "../common/Types";

persistent actor GameState {

  // State

  let officials : Map.Map<Text, Types.OfficialProtocolCanister> = Map.empty(); // by role and address
  let mainers : Map.Map<Text, Types.OfficialProtocolCanister> = Map.empty();
  let topics : Map.Map<Text, Types.ChallengeTopic> = Map.empty();
  let challenges : Map.Map<Text, Types.Challenge> = Map.empty(); // Open and Closed
  let archivedChallenges : Map.Map<Text, Types.Challenge> = Map.empty();
  let submissions : Map.Map<Text, Types.ChallengeResponseSubmission> = Map.empty(); // of Open and Closed challenges
  let archivedSubmissions : Map.Map<Text, Types.ChallengeResponseSubmission> = Map.empty();
  let openSubmissions : Set.Set<Text> = Set.empty(); // ids of those that are Submitted, oldest first
  let timesGivenBack : Map.Map<Text, { var inAll : Nat; var asUnjudgeable : Nat }> = Map.empty(); // by id of those that no Judge has graded yet
  let judging : Map.Map<Text, { judge : Principal; since : Nat64 }> = Map.empty(); // by id of those that are Judging
  let scores : Map.Map<Text, PureList.List<Types.ScoredResponse>> = Map.empty(); // by challenge
  let winners : Map.Map<Text, Types.ChallengeWinnerDeclaration> = Map.empty(); // by challenge
  let undertaken : Map.Map<Text, { holders : Set.Set<Principal>; var timesGivenUp : Nat }> = Map.empty(); // by open challenge
  let random = Random.seedState(Clock.now());
  var serial = 0;
  var cyclesReceived = 0;
  var thresholds : Types.GameStateTresholds = {
    thresholdArchiveClosedChallenges = 30;
    thresholdMaxOpenChallenges = 2;
    thresholdMaxOpenSubmissions = 5;
    thresholdScoredResponsesPerChallenge = 3;
  };

  var limits : Types.GameStateLimits = {
    maxTopicBytes = Limits.topicBytes;
    maxQuestionBytes = Limits.questionBytes;
    maxAnswerBytes = Limits.answerBytes;
    maxTimesGivenUp = 3;
  };

  // Rules

  transient let maxOfficials = 1_000;
  transient let maxMainers = 100_000;
  transient let maxTopics = 10_000;
  transient let maxArchived = 10_000; // challenges; the oldest goes, with all that belongs to it
  transient let maxSubmissionsOfMainer = 100; // to one challenge
  transient let submissionCyclesRequired = 100_000_000_000;
  transient let failedSubmissionCycles = submissionCyclesRequired / 5;
  transient let placesDeclared = 3; // winner, second, third
  transient let maxTimesUnjudgeable = 3;
  transient let maxNanosecondsJudging : Nat64 = 3_600_000_000_000; // an hour; then the next Judge gets it
  transient let reward = { winner = 35; secondPlace = 15; thirdPlace = 5; allParticipants = 45 }; // mAIner tokens
  transient let initialTopics = ["crypto", "nature", "space", "history", "science", "technology", "engineering", "math", "art", "music"];
  transient let ok : Types.StatusCodeRecordResult = #Ok({ status_code = 200 });

  func newId(kind : Text) : Text {
    serial += 1;
    Clock.id(kind, serial);
  };

  func role(canisterType : Types.ProtocolCanisterType, address : Text) : Text = debug_show canisterType # " " # address;

  func isOfficial(caller : Principal, canisterType : Types.ProtocolCanisterType) : Bool = officials.containsKey(role(canisterType, caller.toText()));

  func isMainer(caller : Principal) : Bool = mainers.containsKey(caller.toText());

  func openChallenges() : [Types.Challenge] = challenges.values().filter(func(challenge) { challenge.challengeStatus == #Open }).toArray();

  func oneOf<T>(items : [T]) : T = items[Random.seedFromState(random).natRange(0, items.size())];

  // General

  public query func health() : async Types.StatusCodeRecordResult { ok };

  public shared query ({ caller }) func whoami() : async Principal { caller };

  public shared query ({ caller }) func amiController() : async Types.AuthRecordResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    #Ok({ auth = "You are a controller of this canister." });
  };

  public shared query ({ caller }) func getGameStateThresholdsAdmin() : async Types.GameStateTresholdsResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    #Ok(thresholds);
  };

  public shared ({ caller }) func setGameStateThresholdsAdmin(new : Types.GameStateTresholds) : async Types.StatusCodeRecordResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    if (new.thresholdScoredResponsesPerChallenge < placesDeclared) {
      return #Err(#Other("thresholdScoredResponsesPerChallenge must be at least 3: a ranking declares a winner, a second and a third place"));
    };
    switch (
      Limits.refusal([
        #number("thresholdArchiveClosedChallenges", new.thresholdArchiveClosedChallenges, Limits.count),
        #number("thresholdMaxOpenChallenges", new.thresholdMaxOpenChallenges, Limits.count),
        #number("thresholdMaxOpenSubmissions", new.thresholdMaxOpenSubmissions, Limits.count),
        #number("thresholdScoredResponsesPerChallenge", new.thresholdScoredResponsesPerChallenge, Limits.count),
      ])
    ) {
      case (?error) return #Err(error);
      case null {};
    };
    thresholds := new;
    ok;
  };

  public shared query ({ caller }) func getGameStateLimitsAdmin() : async Types.GameStateLimitsResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    #Ok(limits);
  };

  public shared ({ caller }) func setGameStateLimitsAdmin(new : Types.GameStateLimits) : async Types.StatusCodeRecordResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    switch (
      Limits.refusal([
        #number("maxTopicBytes", new.maxTopicBytes, Limits.mostBytes),
        #number("maxQuestionBytes", new.maxQuestionBytes, Limits.mostBytes),
        #number("maxAnswerBytes", new.maxAnswerBytes, Limits.mostBytes),
        #number("maxTimesGivenUp", new.maxTimesGivenUp, Limits.count),
      ])
    ) {
      case (?error) return #Err(error);
      case null {};
    };
    limits := new;
    ok;
  };

  // Who takes part

  public shared ({ caller }) func addOfficialCanister(input : Types.CanisterInput) : async Types.StatusCodeRecordResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    if (Principals.parse(input.address) == null) return #Err(#Other(notAPrincipal(input.address)));
    switch (input.canisterType) {
      case (#Challenger or #Judge or #MainerCreator) {};
      case (_) return #Err(#Other("Unsupported: only a Challenger, a Judge or a MainerCreator can be an official canister"));
    };
    let key = role(input.canisterType, input.address);
    switch (if (officials.containsKey(key)) null else Limits.full("official canisters", officials.size(), maxOfficials)) {
      case (?error) return #Err(error);
      case null {};
    };
    officials.add(
      key,
      { input with creationTimestamp = Clock.now(); createdBy = caller; ownedBy = Principal.fromActor(GameState) },
    );
    ok;
  };

  func notAPrincipal(text : Text) : Text = "\"" # Limits.clipped(text, Limits.idBytes) # "\" is not a principal: give the canister's id, such as aaaaa-aa";

  func register(caller : Principal, input : Types.MainerAgentCanisterInput) : Types.MainerAgentCanisterResult {
    if (input.canisterType != #MainerAgent) return #Err(#Other("Unsupported: only a MainerAgent can be registered"));
    if (Principals.parse(input.address) == null) return #Err(#Other(notAPrincipal(input.address)));
    switch (if (mainers.containsKey(input.address)) null else Limits.full("registered mAIners", mainers.size(), maxMainers)) {
      case (?error) return #Err(error);
      case null {};
    };
    let entry : Types.OfficialProtocolCanister = {
      address = input.address;
      canisterType = input.canisterType;
      creationTimestamp = switch (mainers.get(input.address)) { case (?known) known.creationTimestamp; case null Clock.now() };
      createdBy = caller;
      ownedBy = input.ownedBy;
    };
    mainers.add(input.address, entry);
    #Ok(entry);
  };

  public shared ({ caller }) func addMainerAgentCanister(input : Types.MainerAgentCanisterInput) : async Types.MainerAgentCanisterResult {
    if (not isOfficial(caller, #MainerCreator)) return #Err(#Unauthorized);
    register(caller, input);
  };

  public shared ({ caller }) func addMainerAgentCanisterAdmin(input : Types.MainerAgentCanisterInput) : async Types.MainerAgentCanisterResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    register(caller, input);
  };

  /// Takes back a registration: the MainerCreator that made it, when its creation fails later, or a controller.
  public shared ({ caller }) func removeMainerAgentCanister(input : Types.CanisterRetrieveInput) : async Types.StatusCodeRecordResult {
    let ?entry = mainers.get(input.address) else {
      if (not caller.isController() and not isOfficial(caller, #MainerCreator)) return #Err(#Unauthorized);
      return #Err(#InvalidId);
    };
    if (not caller.isController() and not (isOfficial(caller, #MainerCreator) and entry.createdBy == caller)) return #Err(#Unauthorized);
    mainers.remove(input.address);
    ok;
  };

  public shared query ({ caller }) func getMainerAgentCanistersForUser() : async Types.MainerAgentCanistersResult {
    if (caller.isAnonymous()) return #Err(#Unauthorized);
    #Ok(mainers.values().filter(func(entry) { entry.ownedBy == caller }).toArray());
  };

  public shared query ({ caller }) func getMainerAgentCanisterInfo(input : Types.CanisterRetrieveInput) : async Types.MainerAgentCanisterResult {
    if (caller.isAnonymous()) return #Err(#Unauthorized);
    let ?entry = mainers.get(input.address) else return #Err(#Unauthorized);
    if (not caller.isController() and caller != entry.ownedBy and caller != entry.createdBy) return #Err(#Unauthorized);
    #Ok(entry);
  };

  // Topics and challenges

  func addTopic(topic : Text) : Types.ChallengeTopic {
    let entry : Types.ChallengeTopic = {
      challengeTopic = topic;
      challengeTopicId = newId("topic");
      challengeTopicCreationTimestamp = Clock.now();
      challengeTopicStatus = #Open;
    };
    topics.add(entry.challengeTopicId, entry);
    entry;
  };

  func topicNamed(name : Text) : ?Types.ChallengeTopic = topics.values().find(func(topic) { topic.challengeTopic == name });

  public shared ({ caller }) func setInitialChallengeTopics() : async Types.StatusCodeRecordResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    for (name in initialTopics.values()) if (topicNamed(name) == null) ignore addTopic(name);
    ok;
  };

  public shared ({ caller }) func addChallengeTopic(input : Types.ChallengeTopicInput) : async Types.ChallengeTopicResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    if (input.challengeTopic.trim(#predicate(func c = c.isWhitespace())) == "") return #Err(#Other("challengeTopic is empty: give the topic in words"));
    switch (topicNamed(input.challengeTopic)) {
      case (?existing) return #Ok(existing);
      case null {};
    };
    switch (Limits.refusal([#text("challengeTopic", input.challengeTopic, limits.maxTopicBytes)]), Limits.full("topics", topics.size(), maxTopics)) {
      case (?error, _) #Err(error);
      case (_, ?error) #Err(error);
      case (null, null) #Ok(addTopic(input.challengeTopic));
    };
  };

  public shared ({ caller }) func getRandomOpenChallengeTopic() : async Types.ChallengeTopicResult {
    if (not isOfficial(caller, #Challenger)) return #Err(#Unauthorized);
    switch (enoughOpen()) {
      case (?error) return #Err(error);
      case null {};
    };
    let open = topics.values().filter(func(topic) { topic.challengeTopicStatus == #Open }).toArray();
    if (open.size() == 0) return #Err(#Other("There is no open challenge topic: add one with setInitialChallengeTopics or addChallengeTopic"));
    #Ok(oneOf(open));
  };

  /// The error when no more challenges may be open, or null.
  func enoughOpen() : ?Types.ApiError {
    if (openChallenges().size() < thresholds.thresholdMaxOpenChallenges) return null;
    ?#Other("There are already " # thresholds.thresholdMaxOpenChallenges.toText() # " open challenges, the most allowed: wait until one is closed, or raise thresholdMaxOpenChallenges");
  };

  public shared ({ caller }) func addChallenge(input : Types.NewChallengeInput) : async Types.ChallengeAdditionResult {
    if (not isOfficial(caller, #Challenger)) return #Err(#Unauthorized);
    switch (Limits.challenge(input, limits.maxTopicBytes, limits.maxQuestionBytes)) {
      case (?error) return #Err(error);
      case null {};
    };
    switch (enoughOpen()) {
      case (?error) return #Err(error);
      case null {};
    };
    let challenge : Types.Challenge = {
      input with
      challengeId = newId("challenge");
      challengeCreationTimestamp = Clock.now();
      challengeCreatedBy = caller.toText();
      challengeStatus = #Open : Types.ChallengeStatus;
      challengeClosedTimestamp = null : ?Nat64;
      submissionCyclesRequired;
    };
    challenges.add(challenge.challengeId, challenge);
    #Ok(challenge);
  };

  public shared query ({ caller }) func getCurrentChallenges() : async Types.ChallengesResult {
    if (not isOfficial(caller, #Challenger)) return #Err(#Unauthorized);
    #Ok(openChallenges());
  };

  public shared query ({ caller }) func getCurrentChallengesAdmin() : async Types.ChallengesResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    #Ok(openChallenges());
  };

  public shared query ({ caller }) func getNumCurrentChallengesAdmin() : async Types.NatResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    #Ok(openChallenges().size());
  };

  /// Those of the challenges that were handed out to the fewest mAIners, so that each gets its answers in turn.
  func leastUndertaken(open : [Types.Challenge]) : [Types.Challenge] {
    func times(challenge : Types.Challenge) : Nat = switch (undertaken.get(challenge.challengeId)) {
      case (?record) record.holders.size() + record.timesGivenUp;
      case null 0;
    };
    var fewest = times(open[0]);
    for (challenge in open.values()) fewest := Nat.min(fewest, times(challenge));
    open.filter(func challenge = times(challenge) == fewest);
  };

  public shared ({ caller }) func getRandomOpenChallenge() : async Types.ChallengeResult {
    if (not isMainer(caller)) return #Err(#Unauthorized);
    if (openSubmissions.size() >= thresholds.thresholdMaxOpenSubmissions) {
      return #Err(
        #Other(
          openSubmissions.size().toText() # " submissions wait to be judged, as many as thresholdMaxOpenSubmissions: no challenge is given out until they are fewer"
        )
      );
    };
    let open = openChallenges();
    if (open.size() == 0) return #Err(#Other("There is no open challenge"));
    let challenge = oneOf(leastUndertaken(open));
    switch (undertaken.get(challenge.challengeId)) {
      case (?record) record.holders.add(caller);
      case null undertaken.add(challenge.challengeId, { holders = Set.singleton(caller); var timesGivenUp = 0 });
    };
    #Ok(challenge);
  };

  /// A mAIner that was handed out a challenge cannot answer it. One that nobody answered is closed when it was given up
  /// too often.
  public shared ({ caller }) func reportChallengeGivenUp(input : Types.ChallengeGivenUpInput) : async Types.StatusCodeRecordResult {
    if (not isMainer(caller)) return #Err(#Unauthorized);
    let ?challenge = challenges.get(input.challengeId) else return #Err(#InvalidId);
    let ?record = undertaken.get(input.challengeId) else return #Err(#InvalidId);
    if (not record.holders.delete(caller)) return #Err(#Other("This challenge was not handed out to you, or you have given it up already"));
    record.timesGivenUp += 1;
    if (limits.maxTimesGivenUp > 0 and record.timesGivenUp >= limits.maxTimesGivenUp and submissionsOf(challenge.challengeId).size() == 0) {
      end(challenge, #Other("given up " # record.timesGivenUp.toText() # " times, at last because: " # Limits.clipped(input.reason, Limits.reasonBytes)));
      archiveOldest();
    };
    ok;
  };

  /// Closed and given up challenges, as long as they are not archived.
  public shared query ({ caller }) func getClosedChallengesAdmin() : async Types.ChallengesResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    #Ok(closedChallenges());
  };

  // Submissions

  public shared ({ caller }) func submitChallengeResponse(input : Types.ChallengeResponseSubmissionInput) : async Types.ChallengeResponseSubmissionMetadataResult {
    if (caller.isAnonymous()) return failedSubmission<system>(#Unauthorized);
    if (Cycles.available() < submissionCyclesRequired) return failedSubmission<system>(#InsuffientCycles(submissionCyclesRequired));
    if (not isMainer(caller)) return failedSubmission<system>(#Unauthorized);
    if (input.submittedBy != caller) return failedSubmission<system>(#Unauthorized);
    let ?challenge = challenges.get(input.challengeId) else return failedSubmission<system>(#InvalidId);
    if (challenge.challengeStatus != #Open) return failedSubmission<system>(#InvalidId);
    switch (
      Limits.refusal([
        #text("challengeAnswer", input.challengeAnswer, limits.maxAnswerBytes),
        #text("challengeQueuedId", input.challengeQueuedId, Limits.idBytes),
      ]),
      Limits.full("submissions of this mAIner to this challenge", submissionsOf(input.challengeId).filter(func one = one.submittedBy == caller).size(), maxSubmissionsOfMainer),
    ) {
      case (?error, _) return failedSubmission<system>(error);
      case (_, ?error) return failedSubmission<system>(error);
      case (null, null) {};
    };

    cyclesReceived += Cycles.accept<system>(challenge.submissionCyclesRequired);
    let metadata : Types.ChallengeResponseSubmissionMetadata = {
      submissionId = newId("submission");
      submittedTimestamp = Clock.now();
      submissionStatus = #Submitted;
    };
    let submission : Types.ChallengeResponseSubmission = {
      metadata and challenge with // the challenge as it is known here, not as the caller tells it
      challengeQueuedId = input.challengeQueuedId;
      challengeQueuedBy = input.challengeQueuedBy;
      challengeQueuedTo = input.challengeQueuedTo;
      challengeQueuedTimestamp = input.challengeQueuedTimestamp;
      challengeAnswer = input.challengeAnswer;
      challengeAnswerSeed = input.challengeAnswerSeed;
      submittedBy = caller;
    };
    submissions.add(submission.submissionId, submission);
    openSubmissions.add(metadata.submissionId);
    #Ok(metadata);
  };

  func failedSubmission<system>(error : Types.ApiError) : Types.ChallengeResponseSubmissionMetadataResult {
    cyclesReceived += Cycles.accept<system>(failedSubmissionCycles);
    #Err(error);
  };

  public shared query ({ caller }) func getSubmissionsAdmin() : async Types.ChallengeResponseSubmissionsResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    #Ok(submissions.values().toArray());
  };

  public shared query ({ caller }) func getNumSubmissionsAdmin() : async Types.NatResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    #Ok(submissions.size());
  };

  public shared query ({ caller }) func getOpenSubmissionsAdmin() : async Types.ChallengeResponseSubmissionsResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    #Ok(openSubmissions.values().filterMap(func(id) { submissions.get(id) }).toArray());
  };

  public shared query ({ caller }) func getNumOpenSubmissionsAdmin() : async Types.NatResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    #Ok(openSubmissions.size());
  };

  public shared query func getProtocolTotalCyclesBurnt() : async Types.NatResult { #Ok(cyclesReceived) };

  // Judging

  func setStatus(submission : Types.ChallengeResponseSubmission, submissionStatus : Types.ChallengeResponseSubmissionStatus) : Types.ChallengeResponseSubmission {
    let changed = { submission with submissionStatus };
    submissions.add(submission.submissionId, changed);
    if (submissionStatus == #Submitted) openSubmissions.add(submission.submissionId) else openSubmissions.remove(submission.submissionId);
    if (submissionStatus != #Judging) judging.remove(submission.submissionId);
    if (submissionStatus != #Judging and submissionStatus != #Submitted) timesGivenBack.remove(submission.submissionId);
    changed;
  };

  public shared ({ caller }) func getNextSubmissionToJudge() : async Types.ChallengeResponseSubmissionResult {
    if (not isOfficial(caller, #Judge)) return #Err(#Unauthorized);
    resetOverdue();
    let ?id = nextToJudge() else return #Err(#Other("There are no submissions to judge"));
    let ?submission = submissions.get(id) else return #Err(#InvalidId);
    judging.add(id, { judge = caller; since = Clock.now() });
    #Ok(setStatus(submission, #Judging));
  };

  /// The oldest of the submissions that were given back least often, so that one that no Judge can grade is in nobody's way.
  func nextToJudge() : ?Text {
    func times(id : Text) : Nat = switch (timesGivenBack.get(id)) { case (?times) times.inAll; case null 0 };
    var next : ?Text = null;
    for (id in openSubmissions.values()) switch next {
      case (?before) if (times(id) < times(before)) next := ?id;
      case null next := ?id;
    };
    next;
  };

  /// Gives what a Judge has had for too long to the next one.
  func resetOverdue() {
    for ((id, { since }) in judging.toArray().values()) {
      if (Clock.now() > since + maxNanosecondsJudging) switch (submissions.get(id)) {
        case (?submission) ignore setStatus(submission, #Submitted);
        case null judging.remove(id);
      };
    };
  };

  /// A Judge cannot score a submission that it took: it is judged again, after the others that wait. One that was unjudgeable
  /// `maxTimesUnjudgeable` times is given up, with the reason as its status.
  public shared ({ caller }) func giveBackSubmission(input : Types.SubmissionGivenBackInput) : async Types.ChallengeResponseSubmissionResult {
    if (not isOfficial(caller, #Judge)) return #Err(#Unauthorized);
    let ?submission = submissions.get(input.submissionId) else return #Err(#InvalidId);
    if (submission.challengeId != input.challengeId) return #Err(#InvalidId);
    switch (judging.get(input.submissionId)) {
      case (?{ judge }) if (judge != caller) return #Err(#Other("Another Judge has this submission"));
      case null return #Err(#Other("The submission is not being judged: its status is " # debug_show submission.submissionStatus));
    };
    let times = switch (timesGivenBack.get(input.submissionId)) {
      case (?known) known;
      case null ({ var inAll = 0; var asUnjudgeable = 0 });
    };
    times.inAll += 1;
    if (input.unjudgeable) times.asUnjudgeable += 1;
    timesGivenBack.add(input.submissionId, times);
    let status = if (times.asUnjudgeable < maxTimesUnjudgeable) #Submitted else #Other("not graded by " # times.asUnjudgeable.toText() # " attempts, at last because: " # Limits.clipped(input.reason, Limits.reasonBytes));
    #Ok(setStatus(submission, status));
  };

  /// The submissions that a Judge has taken and not scored, oldest first. Of one that was taken before this was kept, the
  /// judge is not known, and it counts from when it was submitted.
  public shared query ({ caller }) func getJudgingSubmissionsAdmin() : async Types.JudgingSubmissionsResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    let taken = submissions.values().filter(func(submission) { submission.submissionStatus == #Judging });
    #Ok(taken.map(whileJudged).toArray());
  };

  func whileJudged(submission : Types.ChallengeResponseSubmission) : Types.JudgingSubmission {
    let (judge, since) : (?Principal, Nat64) = switch (judging.get(submission.submissionId)) {
      case (?taken) (?taken.judge, taken.since);
      case null (null, submission.submittedTimestamp);
    };
    { submission; judge; judgingTimestamp = since; secondsJudging = Nat64.toNat((Clock.now() - since) / 1_000_000_000) };
  };

  /// Gives a submission that its Judge will not score to the next one that asks.
  public shared ({ caller }) func resetJudgingSubmissionAdmin(input : Types.SubmissionRetrievalInput) : async Types.ChallengeResponseSubmissionResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    let ?submission = submissions.get(input.submissionId) else return #Err(#InvalidId);
    if (submission.challengeId != input.challengeId) return #Err(#InvalidId);
    if (submission.submissionStatus != #Judging) {
      return #Err(#Other("The submission is not being judged: its status is " # debug_show submission.submissionStatus));
    };
    #Ok(setStatus(submission, #Submitted));
  };

  public shared ({ caller }) func addScoredResponse(input : Types.ScoredResponseInput) : async Types.ScoredResponseResult {
    if (not isOfficial(caller, #Judge)) return #Err(#Unauthorized);
    if (input.judgedBy != caller) return #Err(#Unauthorized);
    let ?challenge = challenges.get(input.challengeId) else return #Err(#InvalidId);
    if (challenge.challengeStatus != #Open) return #Err(#InvalidId);
    let ?submission = submissions.get(input.submissionId) else return #Err(#InvalidId);
    if (submission.challengeId != input.challengeId) return #Err(#InvalidId);
    switch (Limits.refusal([#number("score", input.score, Limits.count)])) {
      case (?error) return #Err(error);
      case null {};
    };
    if (submission.submissionStatus != #Judging) {
      return #Err(#Other("The submission is not being judged: take it with getNextSubmissionToJudge and score it once"));
    };

    let judged = setStatus(submission, #Judged);
    let scored : Types.ScoredResponse = {
      judged with
      judgedBy = caller;
      score = input.score;
      scoreSeed = input.scoreSeed;
      judgedTimestamp = Clock.now();
    };
    let ofChallenge = scoresOf(challenge.challengeId).pushFront(scored);
    scores.add(challenge.challengeId, ofChallenge);
    if (ofChallenge.size() >= thresholds.thresholdScoredResponsesPerChallenge) close(challenge, ofChallenge.toArray());
    #Ok({ success = true });
  };

  func scoresOf(challengeId : Text) : PureList.List<Types.ScoredResponse> {
    switch (scores.get(challengeId)) {
      case (?list) list;
      case null PureList.empty();
    };
  };

  func close(challenge : Types.Challenge, scored : [Types.ScoredResponse]) {
    end(challenge, #Closed);
    winners.add(challenge.challengeId, rank(challenge.challengeId, scored));
    for (submission in submissionsOf(challenge.challengeId).values()) {
      ignore setStatus(
        submission,
        if (submission.submissionStatus == #Judged) #Processed else #Other("The challenge was closed before this was judged"),
      );
    };
    archiveOldest();
  };

  func end(challenge : Types.Challenge, challengeStatus : Types.ChallengeStatus) {
    challenges.add(challenge.challengeId, { challenge with challengeStatus; challengeClosedTimestamp = ?Clock.now() });
    undertaken.remove(challenge.challengeId);
  };

  func submissionsOf(challengeId : Text) : [Types.ChallengeResponseSubmission] = submissions.values().filter(func(submission) { submission.challengeId == challengeId }).toArray();

  /// Best score first; of equal scores the one that was judged last, which is first in `scored`.
  func rank(challengeId : Text, scored : [Types.ScoredResponse]) : Types.ChallengeWinnerDeclaration {
    let ranked = scored.sort(func(a : Types.ScoredResponse, b : Types.ScoredResponse) : Order.Order = Nat.compare(b.score, a.score));
    let entries = Array.tabulate<Types.ChallengeParticipantEntry>(ranked.size(), func place = participant(ranked[place], place, ranked.size()));
    {
      challengeId;
      finalizedTimestamp = Clock.now();
      winner = entries[0];
      secondPlace = entries[1];
      thirdPlace = entries[2];
      participants = PureList.fromArray(entries);
    };
  };

  func participant(response : Types.ScoredResponse, place : Nat, participants : Nat) : Types.ChallengeParticipantEntry {
    let (result : Types.ChallengeParticipationResult, prize) = switch place {
      case 0 (#Winner, reward.winner);
      case 1 (#SecondPlace, reward.secondPlace);
      case 2 (#ThirdPlace, reward.thirdPlace);
      case _ (#Participated, 0);
    };
    {
      submissionId = response.submissionId;
      submittedBy = response.submittedBy;
      ownedBy = switch (mainers.get(response.submittedBy.toText())) {
        case (?mainer) mainer.ownedBy;
        case null response.submittedBy; // no longer registered
      };
      result;
      reward = {
        rewardType = #MainerToken;
        amount = prize + reward.allParticipants / participants;
        rewardDetails = "";
        distributed = false;
        distributedTimestamp = null;
      };
    };
  };

  func closedChallenges() : [Types.Challenge] {
    challenges.values().filter(func(challenge) { challenge.challengeStatus != #Open }).toArray().sort(
      func(a : Types.Challenge, b : Types.Challenge) : Order.Order = Nat64.compare(closedAt(a), closedAt(b))
    );
  };

  func closedAt(challenge : Types.Challenge) : Nat64 {
    switch (challenge.challengeClosedTimestamp) {
      case (?timestamp) timestamp;
      case null 0;
    };
  };

  /// The older half of what is closed, as soon as that is as much as the threshold.
  func archiveOldest() {
    let closed = closedChallenges();
    if (closed.size() < thresholds.thresholdArchiveClosedChallenges) return;
    for (challenge in closed.values().take(closed.size() / 2)) {
      challenges.remove(challenge.challengeId);
      let challengeStatus : Types.ChallengeStatus = if (challenge.challengeStatus == #Closed) #Archived else challenge.challengeStatus;
      archivedChallenges.add(challenge.challengeId, { challenge with challengeStatus });
      for (submission in submissionsOf(challenge.challengeId).values()) {
        submissions.remove(submission.submissionId);
        archivedSubmissions.add(submission.submissionId, submission);
      };
      if (archivedChallenges.size() > maxArchived) forgetOldest();
    };
  };

  func forgetOldest() {
    let ?(challengeId, _) = archivedChallenges.minEntry() else return;
    archivedChallenges.remove(challengeId);
    scores.remove(challengeId);
    winners.remove(challengeId);
    for (submission in archivedSubmissions.values().filter(func one = one.challengeId == challengeId).toArray().values()) {
      archivedSubmissions.remove(submission.submissionId);
    };
  };

  // Results

  public shared query ({ caller }) func getScoredChallengesAdmin() : async Types.ScoredChallengesResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    #Ok(currentScores());
  };

  public shared query ({ caller }) func getNumScoredChallengesAdmin() : async Types.NatResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    #Ok(currentScores().size());
  };

  func currentScores() : [(Text, PureList.List<Types.ScoredResponse>)] = scores.entries().filter(func((challengeId, _)) { challenges.containsKey(challengeId) }).toArray();

  func recentWinners() : [Types.ChallengeWinnerDeclaration] = closedChallenges().reverse().values().filterMap(func(challenge) { winners.get(challenge.challengeId) }).toArray();

  public shared query ({ caller }) func getRecentChallengeWinners() : async Types.ChallengeWinnersResult {
    if (caller.isAnonymous()) return #Err(#Unauthorized);
    #Ok(recentWinners());
  };

  public shared query func getRecentProtocolActivity() : async Types.ProtocolActivityResult {
    #Ok({ winners = recentWinners(); challenges = openChallenges() });
  };

  public shared query ({ caller }) func getScoreForSubmission(input : Types.SubmissionRetrievalInput) : async Types.ScoredResponseRetrievalResult {
    if (caller.isAnonymous()) return #Err(#Unauthorized);
    switch (scoresOf(input.challengeId).find(func(scored) { scored.submissionId == input.submissionId })) {
      case (?scored) #Ok(scored);
      case null #Err(#InvalidId);
    };
  };
};
