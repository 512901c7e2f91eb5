// The part of the Internet Computer's system API this canister imports (interface specification, "System API"), 32-bit
// addresses.
#pragma once
#include <cstddef>
#include <cstdint>

#define IC0_IMPORT(name) __attribute__((import_module("ic0"), import_name(#name)))

extern "C" {
IC0_IMPORT(msg_arg_data_size) size_t ic0_msg_arg_data_size();
IC0_IMPORT(msg_arg_data_copy) void ic0_msg_arg_data_copy(void * target, size_t offset, size_t size);
IC0_IMPORT(msg_caller_size) size_t ic0_msg_caller_size();
IC0_IMPORT(msg_caller_copy) void ic0_msg_caller_copy(void * target, size_t offset, size_t size);
IC0_IMPORT(msg_reply_data_append) void ic0_msg_reply_data_append(const void * source, size_t size);
IC0_IMPORT(msg_reply) void ic0_msg_reply();
IC0_IMPORT(canister_self_size) size_t ic0_canister_self_size();
IC0_IMPORT(canister_self_copy) void ic0_canister_self_copy(void * target, size_t offset, size_t size);
IC0_IMPORT(call_new)
void ic0_call_new(const void * callee, size_t callee_size, const void * method, size_t method_size,
                  void (*on_reply)(int32_t), int32_t reply_argument, void (*on_reject)(int32_t), int32_t reject_argument);
IC0_IMPORT(call_on_cleanup) void ic0_call_on_cleanup(void (*cleanup)(int32_t), int32_t argument);
IC0_IMPORT(call_data_append) void ic0_call_data_append(const void * source, size_t size);
IC0_IMPORT(call_perform) int32_t ic0_call_perform();
IC0_IMPORT(is_controller) int32_t ic0_is_controller(const void * principal, size_t size);
IC0_IMPORT(stable64_size) int64_t ic0_stable64_size();
IC0_IMPORT(stable64_grow) int64_t ic0_stable64_grow(int64_t additional_pages);
IC0_IMPORT(stable64_read) void ic0_stable64_read(int64_t target, int64_t offset, int64_t size);
IC0_IMPORT(stable64_write) void ic0_stable64_write(int64_t offset, int64_t source, int64_t size);
IC0_IMPORT(time) int64_t ic0_time();
IC0_IMPORT(global_timer_set) int64_t ic0_global_timer_set(int64_t nanoseconds_since_1970);
IC0_IMPORT(performance_counter) int64_t ic0_performance_counter(int32_t type);
IC0_IMPORT(debug_print) void ic0_debug_print(const void * text, size_t size);
IC0_IMPORT(trap) [[noreturn]] void ic0_trap(const void * text, size_t size);
}
