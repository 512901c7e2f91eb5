// How a message ends in failure: everything it did is rolled back and the caller gets the text.
#pragma once
#include <string_view>

[[noreturn]] void trap(std::string_view message);
