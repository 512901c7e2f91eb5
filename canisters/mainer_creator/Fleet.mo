/// What the creator made: mAIners and their LLMs, what each was made of, and the keys that they were ordered with.

import Array "mo:core/Array";
import Iter "mo:core/Iter";
import List "mo:core/List";
import Map "mo:core/Map";
import Text "mo:core/Text";
import Clock "../common/Clock";
import Types "../common/Types";

module {
  public type State = {
    mainers : List.List<Types.MainerRecord>; // of type NA: a Challenger or a Judge, for which the creator made only LLMs
    contents : Map.Map<Text, Types.CanisterContent>; // by canister
    makings : Map.Map<Text, Types.Making>; // of LLMs, by canister
    ordersDone : Map.Map<Text, { order : Text; canisterId : Text }>; // by key
  };

  /// What a canister is here: a mAIner, or the LLM of one.
  public type Place = { #mainer : Types.MainerRecord; #llm : Types.MainerRecord };

  public func list(state : State) : [Types.MainerInfo] {
    let keys : Map.Map<Text, Text> = Map.empty();
    for ((key, order) in state.ordersDone.entries()) keys.add(order.canisterId, key);
    func llmRecord(canisterId : Text) : Types.LlmRecord = {
      canisterId;
      key = keys.get(canisterId);
      content = state.contents.get(canisterId);
      making = state.makings.get(canisterId);
    };
    state.mainers.toArray().map<Types.MainerRecord, Types.MainerInfo>(
      func mainer = {
        mainer with
        key = keys.get(mainer.controllerId);
        content = state.contents.get(mainer.controllerId);
        llms = ?mainer.llmIds.map(llmRecord);
      }
    );
  };

  public func recordOf(state : State, controllerId : Text) : ?Types.MainerRecord = state.mainers.find(func mainer = mainer.controllerId == controllerId);

  public func llmsOf(state : State, controllerId : Text) : [Text] = switch (recordOf(state, controllerId)) {
    case (?mainer) mainer.llmIds;
    case null [];
  };

  /// The mAIners that have this LLM.
  public func mainersWith(state : State, llmId : Text) : [Types.MainerRecord] = state.mainers.filter(func mainer = mainer.llmIds.indexOf(llmId) != null).toArray();

  /// The ShareAgents of a ShareService.
  public func agentsOf(state : State, serviceId : Text) : [Types.MainerRecord] = state.mainers.filter(func mainer = mainer.shareServiceId == ?serviceId).toArray();

  public func placeOf(state : State, address : Text) : ?Place {
    switch (recordOf(state, address)) {
      case (?mainer) return if (mainer.mainerAgentCanisterType == #NA) null else ?#mainer(mainer);
      case null {};
    };
    let controllers = mainersWith(state, address);
    if (controllers.size() > 0) ?#llm(controllers[0]) else null;
  };

  /// Keeps `record` in place of what was known of this mAIner.
  public func note(state : State, record : Types.MainerRecord) {
    switch (state.mainers.findIndex(func mainer = mainer.controllerId == record.controllerId)) {
      case (?index) state.mainers.put(index, record);
      case null state.mainers.add(record);
    };
  };

  public func noteLlm(state : State, controllerId : Text, mainerAgentCanisterType : Types.MainerAgentCanisterType, owner : Principal, llmId : Text) {
    let mainer = switch (recordOf(state, controllerId)) {
      case (?known) known;
      case null ({ controllerId; mainerAgentCanisterType; owner; llmIds = []; shareServiceId = null; createdAt = Clock.now() });
    };
    if (mainer.llmIds.indexOf(llmId) == null) note(state, { mainer with llmIds = mainer.llmIds.concat([llmId]) });
  };

  /// Drops all that is known of a canister and, of a mAIner, of its LLMs; the keys that they were ordered with make others.
  /// ShareAgents of a ShareService have none afterwards.
  public func forget(state : State, address : Text) {
    for (id in llmsOf(state, address).concat([address]).values()) {
      state.contents.remove(id);
      state.makings.remove(id);
      for ((key, order) in state.ordersDone.toArray().values()) if (order.canisterId == id) state.ordersDone.remove(key);
    };
    state.mainers.retain(func mainer = mainer.controllerId != address);
    state.mainers.mapInPlace(
      func mainer = {
        mainer with
        llmIds = mainer.llmIds.filter(func id = id != address);
        shareServiceId = if (mainer.shareServiceId == ?address) null else mainer.shareServiceId;
      }
    );
  };
};
