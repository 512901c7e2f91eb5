/// Files in stable memory.
///
/// The memory is cut into blocks of one size. A file is a sequence of pieces, each in one block, so that adding a piece
/// takes the same time however large the file is, and the blocks of files that nobody refers to are used again.

import Array "mo:core/Array";
import Blob "mo:core/Blob";
import List "mo:core/List";
import Nat "mo:core/Nat";
import Nat64 "mo:core/Nat64";
import Nat8 "mo:core/Nat8";
import Region "mo:core/Region";
import Set "mo:core/Set";

module {
  let pagesPerBlock : Nat64 = 32;

  /// Bytes; the largest piece, and more than the largest message from outside carries.
  public let blockSize = 2_097_152;

  public type Store = { region : Region.Region; var blocks : Nat; free : List.List<Nat> };

  public type Piece = { address : Nat; offset : Nat; size : Nat }; // `offset` in the file, `address` in the region

  public type File = {
    blocks : List.List<Nat>;
    pieces : List.List<Piece>; // by offset
    var size : Nat;
    var roomInLastBlock : Nat;
    var references : Nat;
  };

  public func new() : Store = { region = Region.new(); var blocks = 0; free = List.empty() };

  /// An empty file with one reference.
  public func newFile() : File = {
    blocks = List.empty();
    pieces = List.empty();
    var size = 0;
    var roomInLastBlock = 0;
    var references = 1;
  };

  public func retain(file : File) { file.references += 1 };

  /// Takes back a reference; the blocks of a file without any are free.
  public func release(store : Store, file : File) {
    file.references -= 1;
    if (file.references == 0) {
      store.free.addAll(file.blocks.values());
      file.blocks.clear();
      file.pieces.clear();
    };
  };

  /// Starts anew with `files`, each with as many references as it occurs: what was held by anybody else is free.
  public func keepOnly(store : Store, files : [File]) {
    let used : Set.Set<Nat> = Set.empty();
    for (file in files.values()) file.references := 0;
    for (file in files.values()) {
      file.references += 1;
      for (block in file.blocks.values()) used.add(block);
    };
    store.free.clear();
    for (block in Nat.range(0, store.blocks)) if (not used.contains(block)) store.free.add(block);
  };

  func takeBlock(store : Store) : ?Nat {
    switch (store.free.removeLast()) {
      case (?block) ?block;
      case null {
        if (store.region.grow(pagesPerBlock) == 0xffff_ffff_ffff_ffff) return null;
        store.blocks += 1;
        ?(store.blocks - 1 : Nat);
      };
    };
  };

  /// Makes room for a piece of `size` bytes at the end of the file. False when there is no more stable memory.
  public func addPiece(store : Store, file : File, size : Nat) : Bool {
    assert size <= blockSize;
    if (size > file.roomInLastBlock) {
      let ?block = takeBlock(store) else return false;
      file.blocks.add(block);
      file.roomInLastBlock := blockSize;
    };
    let ?block = file.blocks.last() else return false;
    file.pieces.add({ address = (block + 1) * blockSize - file.roomInLastBlock : Nat; offset = file.size; size });
    file.roomInLastBlock -= size;
    file.size += size;
    true;
  };

  /// Writes `data` as the whole of piece number `index`.
  public func writePiece(store : Store, file : File, index : Nat, data : Blob) {
    let piece = file.pieces.at(index);
    assert data.size() == piece.size;
    store.region.storeBlob(Nat64.fromNat(piece.address), data);
  };

  /// The bytes from `offset` on, at most `size` and at most to the end of the piece that `offset` is in.
  public func readPart(store : Store, file : File, offset : Nat, size : Nat) : Blob {
    let piece = pieceAt(file, offset);
    let skipped = offset - piece.offset : Nat;
    store.region.loadBlob(Nat64.fromNat(piece.address + skipped), Nat.min(size, piece.size - skipped : Nat));
  };

  /// The `size` bytes from `offset` on, or fewer where the file ends. For small sizes: joins parts byte by byte.
  public func read(store : Store, file : File, offset : Nat, size : Nat) : Blob {
    var bytes : [Nat8] = [];
    let end = Nat.min(offset + size, file.size);
    while (offset + bytes.size() < end) {
      let part = readPart(store, file, offset + bytes.size(), end - offset - bytes.size());
      if (part.size() == size) return part;
      bytes := Array.concat(bytes, part.toArray());
    };
    Blob.fromArray(bytes);
  };

  /// Offsets and sizes of the parts, each within a piece and of at most `maxSize` bytes, that make up the first `size` bytes.
  public func parts(file : File, size : Nat, maxSize : Nat) : [(offset : Nat, size : Nat)] {
    let list : List.List<(Nat, Nat)> = List.empty();
    for (piece in file.pieces.values()) {
      let end = Nat.min(piece.offset + piece.size, size);
      var offset = piece.offset;
      while (offset < end) {
        let part = Nat.min(maxSize, end - offset);
        list.add((offset, part));
        offset += part;
      };
    };
    list.toArray();
  };

  func pieceAt(file : File, offset : Nat) : Piece {
    var low = 0;
    var high = file.pieces.size();
    while (high - low : Nat > 1) {
      let middle = (low + high) / 2;
      if (file.pieces.at(middle).offset <= offset) low := middle else high := middle;
    };
    file.pieces.at(low);
  };
};
