/// A registry for local networks of one subnet: says which subnet a canister is on, as icp-cli asks.

persistent actor class Registry(init : { subnet : Principal }) {
  let subnet = init.subnet;

  public query func get_subnet_for_canister(_ : { principal : ?Principal }) : async {
    #Ok : { subnet_id : ?Principal };
    #Err : Text;
  } {
    #Ok { subnet_id = ?subnet };
  };
};
