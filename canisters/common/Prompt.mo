/// Texts that LLMs are asked with: a template with places for values, such as {question}.

import Iter "mo:core/Iter";
import Text "mo:core/Text";

module {
  /// `template` with each place's value put in; what is in a value is no place.
  public func filled(template : Text, values : [(Text, Text)]) : Text = filledFrom(template, values, 0);

  func filledFrom(template : Text, values : [(Text, Text)], first : Nat) : Text {
    if (first == values.size()) return template;
    let (place, value) = values[first];
    template.split(#text place).map(func part = filledFrom(part, values, first + 1)).join(value);
  };
};
