/// The grade in what an LLM wrote.

import Array "mo:core/Array";
import Char "mo:core/Char";
import Int "mo:core/Int";
import Iter "mo:core/Iter";
import Nat32 "mo:core/Nat32";
import Text "mo:core/Text";

module {
  /// That an LLM writes nothing but a grade, in llama.cpp's GBNF.
  public let grammar = "root ::= [1-5]";

  /// The first digit from 1 to 5 that stands alone, as in "4", "Grade: 4." and "4/5", but not in "45", "4.5" and "x4".
  public func of(text : Text) : ?Nat {
    let chars = text.chars().toArray();
    for (i in chars.keys()) {
      if (chars[i] >= '1' and chars[i] <= '5' and not isTied(chars, i, -1) and not isTied(chars, i, 1)) {
        return ?Nat32.toNat(Char.toNat32(chars[i]) - 48);
      };
    };
    null;
  };

  /// Whether the text so far has a grade that nothing can follow that belongs to it.
  public func isComplete(text : Text) : Bool = of(text) != null and not text.endsWith(#predicate(func c = c.isDigit() or c == '.' or c == ','));

  /// Whether the character at `i` belongs together with its neighbour at `i + step`.
  func isTied(chars : [Char], i : Nat, step : Int) : Bool {
    switch (at(chars, i + step), at(chars, i + 2 * step)) {
      case (?'.' or ?',', ?beyond) beyond.isDigit();
      case (?next, _) next.isAlphabetic() or next.isDigit() or next == '-';
      case (null, _) false;
    };
  };

  func at(chars : [Char], i : Int) : ?Char = if (i < 0 or i >= chars.size()) null else ?chars[Int.abs(i)];
};
