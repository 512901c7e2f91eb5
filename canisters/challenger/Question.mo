/// What is taken as a question of what an LLM wrote.

import Array "mo:core/Array";
import Char "mo:core/Char";
import Iter "mo:core/Iter";
import Nat "mo:core/Nat";
import Text "mo:core/Text";

module {
  /// Words that a Challenger has a question begin with.
  public let words = ["What", "Who", "Where", "When", "Why", "How", "Which", "Can", "Is", "Do"];

  let fewestWords = 3;
  let mostCharacters = 300;
  let whiteSpace : Text.Pattern = #predicate(func c = c.isWhitespace());
  let around : Text.Pattern = #predicate(func c = c.isWhitespace() or "\"'`*#-".contains(#char c));

  /// What an LLM wrote to an answer that was begun with `opening`; one that begins anew does not go on with it.
  public func begun(opening : Text, text : Text) : Text {
    if (opening == "" or isBegun(text)) text else if (text.startsWith(#text "'")) opening # text else opening # " " # text;
  };

  func isBegun(text : Text) : Bool = words.any(func word = text.startsWith(#text(word # " ")));

  /// The first question in `text`, alone; or why there is none. Whatever comes behind it, as its answer, is dropped.
  public func of(text : Text) : { #question : Text; #none : Text } {
    let parts = text.split(#char '?').toArray();
    if (parts.size() < 2) return #none("it asks nothing: there is no question mark");
    let lines = parts[0].split(#char '\n').toArray();
    let question = lastSentence(lines[lines.size() - 1 : Nat]).trim(around) # "?";
    let size = question.split(whiteSpace).filter(func word = word != "").size();
    if (size < fewestWords) return #none("it has fewer than " # fewestWords.toText() # " words");
    if (question.size() > mostCharacters) return #none("it has " # question.size().toText() # " characters, more than " # mostCharacters.toText());
    #question(question);
  };

  /// What begins with one of `words` after the last end of a sentence, such as "What is it" in "Sure! Here it is: What is it".
  func lastSentence(line : Text) : Text {
    var rest = line;
    for (end in [". ", "! ", ": "].values()) {
      let parts = rest.split(#text end).toArray();
      let last = parts[parts.size() - 1 : Nat].trim(around);
      if (isBegun(last)) rest := last;
    };
    rest;
  };

  /// Whether two questions are the same but for case, spaces and punctuation.
  public func same(one : Text, other : Text) : Bool = letters(one) == letters(other);

  func letters(text : Text) : Text = Text.fromIter(text.toLower().chars().filter(func c = c.isAlphabetic() or c.isDigit()));
};
