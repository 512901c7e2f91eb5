"""A small canister for tests: it echoes, counts, rejects and traps."""

PROBE_WAT = r"""
(module
  (import "ic0" "msg_arg_data_size" (func $arg_size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $arg_copy (param i32 i32 i32)))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reject" (func $reject (param i32 i32)))
  (import "ic0" "trap" (func $trap (param i32 i32)))
  (memory (export "memory") 64)
  (data (i32.const 0) "no such luck")
  (data (i32.const 16) "DIDL\00\01\78")
  (global $count (mut i64) (i64.const 0))
  (func $echo
    (call $arg_copy (i32.const 1024) (i32.const 0) (call $arg_size))
    (call $append (i32.const 1024) (call $arg_size))
    (call $reply))
  (func $value
    (i64.store (i32.const 23) (global.get $count))
    (call $append (i32.const 16) (i32.const 15))
    (call $reply))
  (func $increment
    (global.set $count (i64.add (global.get $count) (i64.const 1)))
    (call $value))
  (func $refuse (call $reject (i32.const 0) (i32.const 12)))
  (func $fall (call $trap (i32.const 0) (i32.const 12)))
  (export "canister_query echo" (func $echo))
  (export "canister_update echo_update" (func $echo))
  (export "canister_query value" (func $value))
  (export "canister_update increment" (func $increment))
  (export "canister_query refuse" (func $refuse))
  (export "canister_update refuse_update" (func $refuse))
  (export "canister_update fall" (func $fall)))
"""
PROBE_DID = """
service : {
  echo : (blob) -> (blob) query;
  echo_update : (blob) -> (blob);
  value : () -> (nat64) query;
  increment : () -> (nat64);
  refuse : () -> () query;
  refuse_update : () -> ();
  fall : () -> ();
}
"""
