/// The methods that bring the creator what mAIners are made of, for its controllers.

import Principal "mo:core/Principal";
import Types "../common/Types";
import Artefacts "Artefacts";

mixin (artefacts : Artefacts.State) {
  transient let uploadStarted : Types.StatusCodeRecordResult = #Ok({ status_code = 200 });

  // Checked uploads

  public shared ({ caller }) func uploadBegin(input : Types.UploadBeginInput) : async Types.UploadStatusResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    Artefacts.begin(artefacts, input);
  };

  public shared ({ caller }) func uploadChunk(input : Types.UploadChunkInput) : async Types.UploadStatusResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    Artefacts.chunk(artefacts, input);
  };

  public shared ({ caller }) func uploadFinish(input : Types.UploadFinishInput) : async Types.UploadStatusResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    Artefacts.finish(artefacts, input);
  };

  public shared query ({ caller }) func uploadStatus(target : Types.UploadTarget) : async Types.UploadStatusResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    Artefacts.status(artefacts, target);
  };

  // Appending uploads

  func startWasmUpload(caller : Principal, target : Types.UploadTarget) : Types.StatusCodeRecordResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    switch (Artefacts.startWasm(artefacts, target)) {
      case (?error) #Err(error);
      case null uploadStarted;
    };
  };

  public shared ({ caller }) func start_upload_mainer_controller_canister_wasm() : async Types.StatusCodeRecordResult {
    startWasmUpload(caller, #MainerControllerWasm);
  };

  public shared ({ caller }) func upload_mainer_controller_canister_wasm_bytes_chunk(chunk : Blob) : async Types.FileUploadResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    Artefacts.appendWasm(artefacts, #MainerControllerWasm, chunk);
  };

  public shared ({ caller }) func start_upload_mainer_llm_canister_wasm(model : Types.AvailableModels) : async Types.StatusCodeRecordResult {
    startWasmUpload(caller, #LlmWasm(model));
  };

  public shared ({ caller }) func upload_mainer_llm_canister_wasm_bytes_chunk(model : Types.AvailableModels, chunk : Blob) : async Types.FileUploadResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    Artefacts.appendWasm(artefacts, #LlmWasm(model), chunk);
  };

  public shared ({ caller }) func start_upload_mainer_llm() : async Types.StatusCodeRecordResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    Artefacts.start(artefacts, Artefacts.modelUpload);
    uploadStarted;
  };

  public shared ({ caller }) func upload_mainer_llm_bytes_chunk(chunk : Blob) : async Types.FileUploadResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    Artefacts.append(artefacts, Artefacts.modelUpload, chunk);
  };

  public shared ({ caller }) func finish_upload_mainer_llm(model : Types.AvailableModels) : async Types.FileUploadResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    Artefacts.finishModel(artefacts, model);
  };

  public shared ({ caller }) func addModelCreationArtefactsEntry(model : Types.AvailableModels, entry : Types.ModelCreationArtefacts) : async Types.InsertArtefactsResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    switch (Artefacts.insert(artefacts, model, entry)) {
      case (?error) #Err(error);
      case null #Ok(entry);
    };
  };
};
