/// What canisters are created from (the controller's wasm, and per model the LLM's wasm and the model file), and the
/// uploads that bring it.
///
/// Checked uploads announce size and sha256; their chunks come in any order, any number of times, and the upload is used
/// only when both are right. Appending uploads, the older form, announce nothing: what they bring is checked by its
/// structure, and its sha256 is reported. An upload that proves bad is dropped; what was there before stays in use.

import Array "mo:core/Array";
import Blob "mo:core/Blob";
import Iter "mo:core/Iter";
import List "mo:core/List";
import Map "mo:core/Map";
import Nat "mo:core/Nat";
import Nat64 "mo:core/Nat64";
import Nat8 "mo:core/Nat8";
import Text "mo:core/Text";
import VarArray "mo:core/VarArray";
import BlockStore "BlockStore";
import Clock "../common/Clock";
import Limits "../common/Limits";
import Sha256 "../common/Sha256";
import Types "../common/Types";

module {
  /// Bytes of every chunk of a checked upload but the last: what fits into a message from outside.
  public let chunkSize = 1_900_000;

  // Bytes hashed at most in one message, at about 85 instructions a byte and 40e9 instructions a message.
  let hashedPerChunk = 4_000_000;
  let hashedPerFinish = 16_000_000;
  let hashedAtOnce = 65_536;
  let maxMissingListed = 1_000;

  public let maxModels = 100;
  let maxUploads = 201; // a wasm and a file for each model, and the controller's wasm
  let maxWasmBytes = 104_857_600; // of a module, on any network
  let maxModelBytes = 4_294_967_296; // the heap of an LLM canister has no room for more

  public type Artefact = {
    target : Types.UploadTarget;
    file : BlockStore.File;
    size : Nat;
    sha256 : Blob;
    createdAt : Nat64;
  };

  type CheckedUpload = {
    target : Types.UploadTarget;
    file : BlockStore.File;
    sha256 : Blob;
    received : [var Bool];
    var receivedCount : Nat;
    var receivedInOrder : Nat; // chunks before the first missing one
    hasher : Sha256.State;
  };

  type AppendingUpload = { file : BlockStore.File; hasher : Sha256.State };

  public type State = {
    store : BlockStore.Store;
    artefacts : Map.Map<Text, Artefact>; // by target
    checked : Map.Map<Text, CheckedUpload>; // by target
    appending : Map.Map<Text, AppendingUpload>; // by target, or `modelUpload`
    var latestModel : ?Types.AvailableModels; // whose file was uploaded last
  };

  public func new() : State = {
    store = BlockStore.new();
    artefacts = Map.empty();
    checked = Map.empty();
    appending = Map.empty();
    var latestModel = null;
  };

  /// Frees what only creations cut off by an upgrade of the code still held.
  public func afterUpgrade(state : State) {
    let artefacts = state.artefacts.values().map(func(artefact : Artefact) : BlockStore.File = artefact.file);
    let checked = state.checked.values().map(func(upload : CheckedUpload) : BlockStore.File = upload.file);
    let appending = state.appending.values().map(func(upload : AppendingUpload) : BlockStore.File = upload.file);
    BlockStore.keepOnly(state.store, artefacts.concat(checked).concat(appending).toArray());
  };

  public func modelName(model : Types.AvailableModels) : Text {
    switch model {
      case (#Qwen2_5_500M) "Qwen2_5_500M";
      case (#Gemma3_270M) "Gemma3_270M";
      case (#Other(name)) "\"" # name # "\"";
    };
  };

  public func targetName(target : Types.UploadTarget) : Text {
    switch target {
      case (#MainerControllerWasm) "mAIner controller wasm";
      case (#LlmWasm(model)) "LLM wasm for " # modelName(model);
      case (#LlmModel(model)) "model file of " # modelName(model);
    };
  };

  /// The error if the name of a model is too long to be kept, or null.
  public func modelRefusal(model : Types.AvailableModels) : ?Types.ApiError {
    switch model {
      case (#Other(name)) Limits.refusal([#text("The name of the model", name, Limits.idBytes)]);
      case (_) null;
    };
  };

  /// The error if there is no place for an upload to `target` of `size` bytes, or null.
  func uploadRefusal(state : State, target : Types.UploadTarget, size : Nat) : ?Types.ApiError {
    let (nameFault, limit) = switch target {
      case (#MainerControllerWasm) (null, maxWasmBytes);
      case (#LlmWasm(model)) (modelRefusal(model), maxWasmBytes);
      case (#LlmModel(model)) (modelRefusal(model), maxModelBytes);
    };
    if (nameFault != null) return nameFault;
    let name = targetName(target);
    if (size > limit) return ?#Other("The " # name # " has " # size.toText() # " bytes, at most " # limit.toText() # " are taken");
    if (state.artefacts.containsKey(name) or state.checked.containsKey(name) or state.appending.containsKey(name)) return null;
    Limits.full("files and uploads", state.artefacts.size() + state.checked.size() + state.appending.size(), maxUploads);
  };

  public func get(state : State, target : Types.UploadTarget) : ?Artefact = state.artefacts.get(targetName(target));

  public func list(state : State) : [Types.ArtefactRecord] {
    state.artefacts.values().map(
      func(artefact : Artefact) : Types.ArtefactRecord = { artefact with size = Nat64.fromNat(artefact.size); template = null }
    ).toArray();
  };

  /// Puts `file` into use, with the reference the caller holds.
  func publish(state : State, target : Types.UploadTarget, file : BlockStore.File, sha256 : Blob) {
    let artefact : Artefact = { target; file; size = file.size; sha256; createdAt = Clock.now() };
    switch (state.artefacts.swap(targetName(target), artefact)) {
      case (?replaced) BlockStore.release(state.store, replaced.file);
      case null {};
    };
    noteModel(state, target);
  };

  func noteModel(state : State, target : Types.UploadTarget) {
    switch target {
      case (#LlmModel(model)) state.latestModel := ?model;
      case (_) {};
    };
  };

  // Checked uploads

  public func begin(state : State, input : Types.UploadBeginInput) : Types.UploadStatusResult {
    let name = targetName(input.target);
    let size = Nat64.toNat(input.size);
    switch (uploadRefusal(state, input.target, size)) {
      case (?error) return #Err(error);
      case null {};
    };
    if (size == 0) return #Err(#Other("The " # name # " is empty"));
    if (input.sha256.size() != 32) return #Err(#Other("A sha256 has 32 bytes, this has " # input.sha256.size().toText()));
    switch (get(state, input.target)) {
      case (?artefact) if (artefact.sha256 == input.sha256 and artefact.size == size) {
        noteModel(state, input.target);
        return #Ok(statusOfArtefact(artefact));
      };
      case null {};
    };
    switch (state.checked.get(name)) {
      case (?upload) {
        if (upload.sha256 == input.sha256 and upload.file.size == size) return #Ok(statusOfUpload(upload));
        drop(state, upload);
      };
      case null {};
    };
    let file = BlockStore.newFile();
    while (file.size < size) {
      if (not BlockStore.addPiece(state.store, file, Nat.min(chunkSize, size - file.size))) {
        BlockStore.release(state.store, file);
        return #Err(#Other("There is no stable memory left for " # size.toText() # " bytes"));
      };
    };
    let upload : CheckedUpload = {
      target = input.target;
      file;
      sha256 = input.sha256;
      received = VarArray.repeat(false, file.pieces.size());
      var receivedCount = 0;
      var receivedInOrder = 0;
      hasher = Sha256.new();
    };
    state.checked.add(name, upload);
    #Ok(statusOfUpload(upload));
  };

  public func chunk(state : State, input : Types.UploadChunkInput) : Types.UploadStatusResult {
    let upload = switch (find(state, input.target, input.sha256)) {
      case (#uploading(upload)) upload;
      case (#finished(artefact)) return #Ok(statusOfArtefact(artefact));
      case (#unknown) return #Err(#Other(notBegun(input.target, input.sha256)));
    };
    let offset = Nat64.toNat(input.offset);
    let index = offset / chunkSize;
    if (offset % chunkSize != 0 or index >= upload.received.size()) {
      return #Err(#Other("No chunk begins at " # offset.toText() # ": chunks begin at multiples of " # chunkSize.toText() # " below " # upload.file.size.toText()));
    };
    let expected = upload.file.pieces.at(index).size;
    if (input.chunk.size() != expected) {
      return #Err(#Other("The chunk at " # offset.toText() # " must have " # expected.toText() # " bytes, not " # input.chunk.size().toText()));
    };
    if (not upload.received[index]) {
      BlockStore.writePiece(state.store, upload.file, index, input.chunk);
      upload.received[index] := true;
      upload.receivedCount += 1;
      while (upload.receivedInOrder < upload.received.size() and upload.received[upload.receivedInOrder]) upload.receivedInOrder += 1;
      hash(state.store, upload.file, upload.hasher, bytesInOrder(upload), hashedPerChunk, (offset, input.chunk));
    };
    #Ok(statusOfUpload(upload));
  };

  /// Finishes the upload, or a further part of it: to be repeated until the status says finished.
  public func finish(state : State, input : Types.UploadFinishInput) : Types.UploadStatusResult {
    let upload = switch (find(state, input.target, input.sha256)) {
      case (#uploading(upload)) upload;
      case (#finished(artefact)) return #Ok(statusOfArtefact(artefact));
      case (#unknown) return #Err(#Other(notBegun(input.target, input.sha256)));
    };
    let missing = upload.received.size() - upload.receivedCount : Nat;
    if (missing > 0) {
      return #Err(#Other(missing.toText() # " chunks of the " # targetName(input.target) # " are missing, the first at " # (upload.receivedInOrder * chunkSize).toText() # ": send them, then finish"));
    };
    let file = upload.file;
    hash(state.store, file, upload.hasher, file.size, hashedPerFinish, (0, ""));
    if (file.size - upload.hasher.length : Nat >= Sha256.blockSize) return #Ok(statusOfUpload(upload));

    let sha256 = digest(state.store, file, upload.hasher);
    if (sha256 != upload.sha256) {
      drop(state, upload);
      return #Err(#Other("The sha256 of the " # targetName(input.target) # " that arrived is " # hex(sha256) # ", announced was " # hex(input.sha256) # ": it is dropped, upload it again"));
    };
    switch (checkStructure(state.store, file, input.target)) {
      case (#Err(reason)) {
        drop(state, upload);
        return #Err(#Other(reason # ": it is dropped"));
      };
      case (#Ok) {};
    };
    state.checked.remove(targetName(input.target));
    publish(state, input.target, file, sha256);
    switch (get(state, input.target)) {
      case (?artefact) #Ok(statusOfArtefact(artefact));
      case null #Err(#FailedOperation);
    };
  };

  public func status(state : State, target : Types.UploadTarget) : Types.UploadStatusResult {
    switch (state.checked.get(targetName(target)), get(state, target)) {
      case (?upload, _) #Ok(statusOfUpload(upload));
      case (null, ?artefact) #Ok(statusOfArtefact(artefact));
      case (null, null) #Err(#Other("No " # targetName(target) # " was uploaded yet: begin with uploadBegin"));
    };
  };

  func find(state : State, target : Types.UploadTarget, sha256 : Blob) : { #uploading : CheckedUpload; #finished : Artefact; #unknown } {
    switch (state.checked.get(targetName(target))) {
      case (?upload) if (upload.sha256 == sha256) return #uploading(upload);
      case null {};
    };
    switch (get(state, target)) {
      case (?artefact) if (artefact.sha256 == sha256) return #finished(artefact);
      case null {};
    };
    #unknown;
  };

  func notBegun(target : Types.UploadTarget, sha256 : Blob) : Text = "No upload of the " # targetName(target) # " with sha256 " # hex(sha256) # " is under way: begin it with uploadBegin";

  func drop(state : State, upload : CheckedUpload) {
    state.checked.remove(targetName(upload.target));
    BlockStore.release(state.store, upload.file);
  };

  func bytesInOrder(upload : CheckedUpload) : Nat = Nat.min(upload.receivedInOrder * chunkSize, upload.file.size);

  func statusOfUpload(upload : CheckedUpload) : Types.UploadStatus = {
    target = upload.target;
    size = Nat64.fromNat(upload.file.size);
    sha256 = upload.sha256;
    chunkSize = Nat64.fromNat(chunkSize);
    chunksTotal = Nat64.fromNat(upload.received.size());
    chunksReceived = Nat64.fromNat(upload.receivedCount);
    missing = Nat.range(upload.receivedInOrder, upload.received.size()).filter(func index = not upload.received[index]).take(maxMissingListed).map(Nat64.fromNat).toArray();
    hashedBytes = Nat64.fromNat(upload.hasher.length);
    finished = false;
  };

  func statusOfArtefact(artefact : Artefact) : Types.UploadStatus {
    let chunks = Nat64.fromNat((artefact.size + chunkSize - 1) / chunkSize);
    {
      target = artefact.target;
      size = Nat64.fromNat(artefact.size);
      sha256 = artefact.sha256;
      chunkSize = Nat64.fromNat(chunkSize);
      chunksTotal = chunks;
      chunksReceived = chunks;
      missing = [];
      hashedBytes = Nat64.fromNat(artefact.size);
      finished = true;
    };
  };

  // Appending uploads

  /// The name of the appending upload of a model file, whose model is told only when it is finished.
  public let modelUpload = "model file";

  public func start(state : State, name : Text) {
    switch (state.appending.swap(name, { file = BlockStore.newFile(); hasher = Sha256.new() })) {
      case (?replaced) BlockStore.release(state.store, replaced.file);
      case null {};
    };
  };

  public func append(state : State, name : Text, data : Blob) : Types.FileUploadResult {
    let ?upload = state.appending.get(name) else return #Err(#Other("No upload of the " # name # " was started"));
    switch (appendTo(state.store, upload, data, maxModelBytes)) {
      case (?reason) #Err(#Other(reason));
      case null #Ok({ creationResult = upload.file.size.toText() # " bytes of the " # name # " received" });
    };
  };

  /// Starts the upload of a wasm. The error if there is no place for it, or null.
  public func startWasm(state : State, target : Types.UploadTarget) : ?Types.ApiError {
    let refusal = uploadRefusal(state, target, 0);
    if (refusal == null) start(state, targetName(target));
    refusal;
  };

  func appendTo(store : BlockStore.Store, upload : AppendingUpload, data : Blob, limit : Nat) : ?Text {
    if (upload.file.size + data.size() > limit) return ?("With this chunk the file has " # (upload.file.size + data.size()).toText() # " bytes, at most " # limit.toText() # " are taken");
    if (data.size() == 0) return ?"The chunk is empty";
    if (data.size() > BlockStore.blockSize) return ?("A chunk has at most " # BlockStore.blockSize.toText() # " bytes, this has " # data.size().toText());
    if (not BlockStore.addPiece(store, upload.file, data.size())) return ?"There is no stable memory left";
    let index = upload.file.pieces.size() - 1 : Nat;
    BlockStore.writePiece(store, upload.file, index, data);
    hash(store, upload.file, upload.hasher, upload.file.size, data.size() + Sha256.blockSize, (upload.file.pieces.at(index).offset, data));
    null;
  };

  /// Appends to the upload of a wasm, which has no announced end: it is put into use each time it is a whole module.
  public func appendWasm(state : State, target : Types.UploadTarget, data : Blob) : Types.FileUploadResult {
    let name = targetName(target);
    let ?upload = state.appending.get(name) else return #Err(#Other("No upload of the " # name # " was started"));
    switch (appendTo(state.store, upload, data, maxWasmBytes)) {
      case (?reason) return #Err(#Other(reason));
      case null {};
    };
    let received = upload.file.size.toText() # " bytes of the " # name # " received";
    switch (wasmStructure(state.store, upload.file)) {
      case (#bad(reason)) {
        state.appending.remove(name);
        BlockStore.release(state.store, upload.file);
        #Err(#Other("The " # name # " " # reason # ": it is dropped"));
      };
      case (#incomplete) #Ok({ creationResult = received # ", more to come" });
      case (#complete) {
        let sha256 = digest(state.store, upload.file, upload.hasher);
        BlockStore.retain(upload.file);
        publish(state, target, upload.file, sha256);
        #Ok({ creationResult = received # ", complete, sha256 " # hex(sha256) });
      };
    };
  };

  /// Ends the appending upload of a model file.
  public func finishModel(state : State, model : Types.AvailableModels) : Types.FileUploadResult {
    switch (uploadRefusal(state, #LlmModel(model), 0)) {
      case (?error) return #Err(error);
      case null {};
    };
    let ?upload = state.appending.take(modelUpload) else return #Err(#Other("No upload of the model file was started: begin with start_upload_mainer_llm"));
    switch (checkStructure(state.store, upload.file, #LlmModel(model))) {
      case (#Err(reason)) {
        BlockStore.release(state.store, upload.file);
        #Err(#Other(reason # ": it is dropped"));
      };
      case (#Ok) {
        let sha256 = digest(state.store, upload.file, upload.hasher);
        publish(state, #LlmModel(model), upload.file, sha256);
        #Ok({ creationResult = upload.file.size.toText() # " bytes, sha256 " # hex(sha256) });
      };
    };
  };

  /// A whole LLM wasm and model file at once.
  public func insert(state : State, model : Types.AvailableModels, entry : Types.ModelCreationArtefacts) : ?Types.ApiError {
    switch (uploadRefusal(state, #LlmWasm(model), entry.canisterWasm.size()), uploadRefusal(state, #LlmModel(model), 0)) {
      case (?error, _) return ?error;
      case (_, ?error) return ?error;
      case (null, null) {};
    };
    let wasm : AppendingUpload = { file = BlockStore.newFile(); hasher = Sha256.new() };
    let modelFile : AppendingUpload = { file = BlockStore.newFile(); hasher = Sha256.new() };
    func refuse(reason : Text) : ?Types.ApiError {
      BlockStore.release(state.store, wasm.file);
      BlockStore.release(state.store, modelFile.file);
      ?#Other(reason);
    };
    for ((upload, data) in [(wasm, entry.canisterWasm)].concat(entry.modelFile.map(func data = (modelFile, data))).values()) {
      switch (appendTo(state.store, upload, data, maxModelBytes)) {
        case (?reason) return refuse(reason);
        case null {};
      };
    };
    switch (checkStructure(state.store, wasm.file, #LlmWasm(model)), checkStructure(state.store, modelFile.file, #LlmModel(model))) {
      case (#Ok, #Ok) {};
      case (#Err(reason), _) return refuse(reason);
      case (_, #Err(reason)) return refuse(reason);
    };
    publish(state, #LlmWasm(model), wasm.file, digest(state.store, wasm.file, wasm.hasher));
    publish(state, #LlmModel(model), modelFile.file, digest(state.store, modelFile.file, modelFile.hasher));
    null;
  };

  // Hashing

  /// Goes on hashing `file` up to its first `available` bytes, by whole blocks, about `limit` bytes at most.
  /// `newest` is a piece of the file and its offset: what just arrived need not be read back.
  func hash(store : BlockStore.Store, file : BlockStore.File, hasher : Sha256.State, available : Nat, limit : Nat, (newestOffset : Nat, newest : Blob)) {
    let end = Nat.min(available, hasher.length + limit);
    while (hasher.length + Sha256.blockSize <= end) {
      let offset = hasher.length;
      if (offset >= newestOffset and offset + Sha256.blockSize <= newestOffset + newest.size()) {
        Sha256.absorb(hasher, newest, offset - newestOffset, Nat.min(newest.size(), end - newestOffset));
      } else {
        let part = BlockStore.readPart(store, file, offset, Nat.min(hashedAtOnce, end - offset));
        if (part.size() >= Sha256.blockSize) Sha256.absorb(hasher, part, 0, part.size()) else {
          Sha256.absorb(hasher, BlockStore.read(store, file, offset, Sha256.blockSize), 0, Sha256.blockSize);
        };
      };
    };
  };

  func digest(store : BlockStore.Store, file : BlockStore.File, hasher : Sha256.State) : Blob {
    Sha256.digest(hasher, BlockStore.read(store, file, hasher.length, file.size - hasher.length : Nat));
  };

  public func hex(bytes : Blob) : Text {
    let digits = Text.toArray("0123456789abcdef");
    Text.fromIter(bytes.values().flatMap(func(byte : Nat8) : Iter.Iter<Char> = [digits[Nat8.toNat(byte >> 4)], digits[Nat8.toNat(byte & 15)]].values()));
  };

  // Structure

  func checkStructure(store : BlockStore.Store, file : BlockStore.File, target : Types.UploadTarget) : { #Ok; #Err : Text } {
    let name = "The " # targetName(target) # " ";
    switch target {
      case (#LlmModel(_)) switch (ggufFault(store, file)) {
        case (?fault) #Err(name # fault);
        case null #Ok;
      };
      case (#MainerControllerWasm or #LlmWasm(_)) switch (wasmStructure(store, file)) {
        case (#complete) #Ok;
        case (#incomplete) #Err(name # "is cut off: its last section is not whole");
        case (#bad(reason)) #Err(name # reason);
      };
    };
  };

  /// A WebAssembly module is its magic, its version and its sections, each an id and a size before its content
  /// (WebAssembly specification, 5.5.2 and 5.5.16). Whole means that the sections add up to the size of the file.
  func wasmStructure(store : BlockStore.Store, file : BlockStore.File) : { #complete; #incomplete; #bad : Text } {
    let header = BlockStore.read(store, file, 0, 8);
    if (header.size() < 8) return #incomplete;
    if (header != "\00asm\01\00\00\00") return #bad("is not a WebAssembly module of version 1 (one packed by gzip must be unpacked first)");
    var offset = 8;
    var sections = 0;
    while (offset < file.size) {
      sections += 1;
      if (sections > 1_000) return #bad("has more than 1000 sections");
      let start = BlockStore.read(store, file, offset, 6);
      if (start[0] > 13) return #bad("has no section at byte " # offset.toText());
      let ?(contentSize, sizeBytes) = leb128(start, 1) else return #incomplete;
      offset += 1 + sizeBytes + contentSize;
    };
    if (offset == file.size and sections > 0) #complete else #incomplete;
  };

  /// The number at `at` and how many bytes it takes, or null when it is not whole.
  func leb128(bytes : Blob, at : Nat) : ?(Nat, Nat) {
    var value = 0;
    var weight = 1;
    var i = at;
    while (i < bytes.size()) {
      let byte = Nat8.toNat(bytes[i]);
      value += byte % 128 * weight;
      weight *= 128;
      i += 1;
      if (byte < 128) return ?(value, i - at);
    };
    null;
  };

  /// A gguf file begins with its magic, its version, and how many tensors and metadata entries it has.
  func ggufFault(store : BlockStore.Store, file : BlockStore.File) : ?Text {
    let headerSize = 24;
    let header = BlockStore.read(store, file, 0, headerSize);
    if (header.size() < headerSize) return ?("has only " # file.size.toText() # " bytes: it is not a gguf file");
    if (Array.sliceToArray(header.toArray(), 0, 4) != ("GGUF" : Blob).toArray()) return ?"does not begin with GGUF: it is not a gguf file";
    let version = littleEndian(header, 4, 4);
    if (version < 2 or version > 3) return ?("is of gguf version " # version.toText() # ", known are 2 and 3");
    let tensors = littleEndian(header, 8, 8);
    if (tensors == 0) return ?"has no tensors";
    // A tensor's entry takes at least a name's length, dimensions, type and offset.
    if (headerSize + 24 * tensors > file.size) return ?("is cut off: it is too small for " # tensors.toText() # " tensors");
    null;
  };

  func littleEndian(bytes : Blob, at : Nat, count : Nat) : Nat {
    var value = 0;
    for (i in Nat.rangeByInclusive(at + count - 1, at, -1)) value := 256 * value + Nat8.toNat(bytes[i]);
    value;
  };
};
