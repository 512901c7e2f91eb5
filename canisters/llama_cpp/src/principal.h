// Principals in their textual form (interface specification, "Textual representation of principals").
#pragma once
#include <string>
#include <string_view>

constexpr std::string_view anonymous_principal{"\x04", 1};

std::string principal_text(std::string_view bytes);
