;; A canister whose one method gives its cycles away, installed into a canister that is about to be deleted, because
;; deleting a canister destroys the cycles it holds.
;;
;; return_cycles : (record { canister_id : principal }) -> (nat64)
;;   deposits all cycles but $kept into canister_id, and says how many; for controllers only.
;;
;; The argument is the one of the management canister's deposit_cycles, to which it is passed on as it comes.
(module
  (import "ic0" "msg_caller_size" (func $msg_caller_size (result i32)))
  (import "ic0" "msg_caller_copy" (func $msg_caller_copy (param i32 i32 i32)))
  (import "ic0" "is_controller" (func $is_controller (param i32 i32) (result i32)))
  (import "ic0" "msg_arg_data_size" (func $msg_arg_data_size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $msg_arg_data_copy (param i32 i32 i32)))
  (import "ic0" "msg_reply_data_append" (func $msg_reply_data_append (param i32 i32)))
  (import "ic0" "msg_reply" (func $msg_reply))
  (import "ic0" "msg_reject" (func $msg_reject (param i32 i32)))
  (import "ic0" "msg_reject_msg_size" (func $msg_reject_msg_size (result i32)))
  (import "ic0" "msg_reject_msg_copy" (func $msg_reject_msg_copy (param i32 i32 i32)))
  (import "ic0" "canister_cycle_balance128" (func $canister_cycle_balance128 (param i32)))
  (import "ic0" "call_new" (func $call_new (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "ic0" "call_data_append" (func $call_data_append (param i32 i32)))
  (import "ic0" "call_cycles_add128" (func $call_cycles_add128 (param i64 i64)))
  (import "ic0" "call_perform" (func $call_perform (result i32)))

  ;; What the call itself and the execution of its callback may cost at most; the network returns what they do not use.
  (global $kept i64 (i64.const 60_000_000_000))

  (memory 1)
  (data (i32.const 0) "DIDL\00\01\78")
  (global $deposited i32 (i32.const 7)) ;; behind the type of the reply
  (data (i32.const 16) "deposit_cycles")
  (data (i32.const 32) "the call of deposit_cycles was refused")
  (data (i32.const 80) "only a controller may call return_cycles")
  (global $balance i32 (i32.const 128))
  (global $buffer i32 (i32.const 256))

  (table (export "table") 2 funcref)
  (elem (i32.const 0) $replied $rejected)

  (func (export "canister_update return_cycles") (local $cycles i64)
    (call $msg_caller_copy (global.get $buffer) (i32.const 0) (call $msg_caller_size))
    (if (i32.eqz (call $is_controller (global.get $buffer) (call $msg_caller_size)))
      (then (call $msg_reject (i32.const 80) (i32.const 40)) (return)))
    (call $canister_cycle_balance128 (global.get $balance))
    (local.set $cycles (i64.load (global.get $balance)))
    (if (i64.le_u (local.get $cycles) (global.get $kept))
      (then (call $replied (i32.const 0)) (return)))
    (call $msg_arg_data_copy (global.get $buffer) (i32.const 0) (call $msg_arg_data_size))
    (call $call_new
      (i32.const 0) (i32.const 0) ;; the management canister: the principal of no bytes
      (i32.const 16) (i32.const 14)
      (i32.const 0) (i32.const 0) ;; $replied
      (i32.const 1) (i32.const 0)) ;; $rejected
    (call $call_data_append (global.get $buffer) (call $msg_arg_data_size))
    (i64.store (global.get $deposited) (i64.sub (local.get $cycles) (global.get $kept)))
    (call $call_cycles_add128 (i64.const 0) (i64.load (global.get $deposited)))
    (if (call $call_perform)
      (then (call $msg_reject (i32.const 32) (i32.const 38)))))

  (func $replied (param i32)
    (call $msg_reply_data_append (i32.const 0) (i32.const 15))
    (call $msg_reply))

  (func $rejected (param i32)
    (call $msg_reject_msg_copy (global.get $buffer) (i32.const 0) (call $msg_reject_msg_size))
    (call $msg_reject (global.get $buffer) (call $msg_reject_msg_size))))
