/// Models that think write their thoughts before the answer, between markers of their family. An answer has none.

import Iter "mo:core/Iter";
import Text "mo:core/Text";

module {
  // Where thoughts begin and end, as texts that models write.
  let markers = [
    ("<think>", "</think>"), // Qwen 3, DeepSeek R1, SmolLM 3, LFM 2, Granite, and most others
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"), // EXAONE Deep
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"), // Seed-OSS
    ("[THINK]", "[/THINK]"), // Mistral
    ("<|START_THINKING|>", "<|END_THINKING|>"), // Command A
    ("<unused94>", "<unused95>"), // Gemma for medicine
    ("<|channel>thought", "<channel|>"), // Gemma 4
    ("<|channel|>analysis", "<|channel|>final<|message|>"), // Harmony, as of gpt-oss
  ];

  /// `text` without thoughts, also those that were cut off. `cue` is what the prompt ended with, as it may begin them.
  public func without(text : Text, cue : Text) : Text {
    var rest = text;
    for ((begin, end) in markers.values()) rest := withoutPair(rest, begin, end, isBegun(begin, cue));
    rest;
  };

  /// Whether what a model writes after `cue` are thoughts.
  public func areBegun(cue : Text) : Bool = markers.values().any(func((begin, _)) = isBegun(begin, cue));

  func isBegun(begin : Text, cue : Text) : Bool = cue.trimEnd(#predicate(func c = c == '\n' or c == ' ')).endsWith(#text begin);

  func withoutPair(text : Text, begin : Text, end : Text, begun : Bool) : Text {
    if (not begun and not text.contains(#text begin) and not text.contains(#text end)) return text;
    let parts = text.split(#text end).toArray();
    var kept = "";
    for (i in parts.keys()) {
      let hasBegin = parts[i].contains(#text begin);
      let isLast = i + 1 == parts.size();
      let isThought = not hasBegin and (if (isLast) begun and i == 0 else true); // thoughts that the prompt began, or inner ones
      if (not isThought) switch (parts[i].split(#text begin).next()) {
        case (?before) kept #= before;
        case null {};
      };
    };
    kept;
  };
};
