// What stands between llama.cpp's C library and the canister.
#pragma once
#include <string>

// Once at the start of the module, before anything else: constructors of static objects.
void start_runtime();

// What llama.cpp last said at level error (its reason when it returns null), and forget it.
std::string take_last_error();
