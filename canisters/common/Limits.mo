/// Limits of what a canister keeps of what it is given. What is longer is refused, with its size and the limit.

import Array "mo:core/Array";
import Iter "mo:core/Iter";
import Nat "mo:core/Nat";
import Text "mo:core/Text";
import Types "Types";

module {
  public let idBytes = 200; // an identifier, an address, a name
  public let reasonBytes = 1_000;
  public let topicBytes = 1_000;
  public let questionBytes = 20_000;
  public let answerBytes = 20_000;
  public let promptBytes = 20_000; // of a part of a prompt
  public let mostBytes = 1_000_000; // of one text, so that the reply that shows it fits into a message
  public let number = 1_000_000_000_000_000_000_000_000; // 10^24; more than any amount of cycles
  public let count = 1_000_000_000;
  let stops = 200;

  /// A value that is to be kept: what it is, the value, its limit (a text's in bytes of UTF-8).
  public type Check = { #text : (Text, Text, Nat); #number : (Text, Nat, Nat) };

  /// The error for the first value beyond its limit, or null.
  public func refusal(checks : [Check]) : ?Types.ApiError {
    for (check in checks.values()) {
      let (what, size, limit, unit) = switch check {
        case (#text(what, value, limit)) (what, bytes(value), limit, " bytes");
        case (#number(what, value, limit)) (what, value, limit, "");
      };
      if (size > limit) return ?#Other(what # " has " # sized(size) # unit # ", at most " # limit.toText() # " are taken");
    };
    null;
  };

  /// The error when there are `limit` entries already and one is to be added, or null.
  public func full(what : Text, entries : Nat, limit : Nat) : ?Types.ApiError {
    if (entries < limit) null else ?#Other("There are already " # entries.toText() # " " # what # ", the most that are kept");
  };

  public func promptFormat(format : Types.PromptFormat) : ?Types.ApiError {
    let texts : [Check] = [
      #text("prefix", format.prefix, promptBytes),
      #text("suffix", format.suffix, promptBytes),
      #number("stop", format.stop.size(), stops),
    ];
    refusal(texts.concat(format.stop.map<Text, Check>(func stop = #text("an entry of stop", stop, idBytes))));
  };

  /// What a challenge brings along. `topic` and `question`: their limits.
  public func challenge(input : Types.NewChallengeInput, topic : Nat, question : Nat) : ?Types.ApiError {
    refusal([
      #text("challengeTopic", input.challengeTopic, topic),
      #text("challengeTopicId", input.challengeTopicId, idBytes),
      #text("challengeTopicStatus", status(input.challengeTopicStatus), idBytes),
      #text("challengeQuestion", input.challengeQuestion, question),
    ]);
  };

  /// The beginning of `text` if it is longer than `limit` characters.
  public func clipped(text : Text, limit : Nat) : Text {
    if (bytes(text) <= limit) text else Text.fromIter(text.chars().take(limit)) # "…";
  };

  func bytes(text : Text) : Nat = text.encodeUtf8().size();

  func status(status : Types.ChallengeTopicStatus) : Text {
    switch status {
      case (#Other(text)) text;
      case (_) "";
    };
  };

  /// A number for people; one that is absurd is not written out, which would take as long as it is.
  func sized(size : Nat) : Text = if (size > number) "more than " # number.toText() else size.toText();
};
