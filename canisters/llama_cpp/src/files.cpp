#include "files.h"

#include "ic0.h"
#include "trap.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

namespace files {

namespace {

using Block = uint32_t;

constexpr uint64_t block_size = 16384;
constexpr uint64_t wasm_page = 65536;
constexpr Block table_block = 1, table_blocks = 128, directory_block = table_block + table_blocks;
constexpr Block max_blocks = table_blocks * block_size / sizeof(Block);
static_assert(max_blocks * block_size == max_size);

// Values in the block table beside the number of a next block, which is always above these.
constexpr Block free_block = 0, end_of_file = 1;

struct Superblock {
    char magic[8];
    uint32_t version;
    uint32_t used_blocks; // blocks from here on were never used
};
constexpr char magic[8] = {'L', 'L', 'M', 'F', 'I', 'L', 'E', 'S'};
constexpr uint32_t layout_version = 1;

struct Entry {
    uint64_t size;
    uint64_t modified;
    Block first; // end_of_file if the file has no blocks
    uint32_t in_use;
    uint8_t name_size;
    char name[max_name];
    char unused[8];
};
static_assert(sizeof(Entry) == 256);

Superblock super;
std::vector<Block> table;                         // of the used blocks
std::set<Block> free_blocks;                      // among the used ones
std::vector<Entry> entries;
std::vector<std::vector<Block>> chains;           // of each entry
std::vector<Block> directory;                     // its own chain
std::map<std::string, Id, std::less<>> by_name;
std::optional<Id> protected_file;

void stable_read(uint64_t offset, void * target, uint64_t count) {
    ic0_stable64_read(reinterpret_cast<uintptr_t>(target), static_cast<int64_t>(offset), static_cast<int64_t>(count));
}

void stable_write(uint64_t offset, const void * source, uint64_t count) {
    ic0_stable64_write(static_cast<int64_t>(offset), reinterpret_cast<uintptr_t>(source), static_cast<int64_t>(count));
}

void ensure_stable(uint64_t bytes) {
    uint64_t have = static_cast<uint64_t>(ic0_stable64_size());
    uint64_t want = (bytes + wasm_page - 1) / wasm_page;
    if (want > have && ic0_stable64_grow(static_cast<int64_t>(want - have)) < 0) {
        trap("no stable memory is left for files");
    }
}

void set_next(Block block, Block next) {
    table[block] = next;
    stable_write(table_block * block_size + block * sizeof(Block), &next, sizeof next);
}

void use_blocks(Block count) {
    if (count > max_blocks) {
        trap("the files take more than 8 GiB");
    }
    ensure_stable(uint64_t(count) * block_size);
    super.used_blocks = count;
    stable_write(0, &super, sizeof super);
    table.resize(count, free_block);
}

// A block for the end of a chain, next to its last one if possible, so that files stay in one piece.
Block allocate(const std::vector<Block> & chain) {
    Block block = chain.empty() ? super.used_blocks : chain.back() + 1;
    if (free_blocks.erase(block) == 0 && block != super.used_blocks) {
        if (free_blocks.empty()) {
            block = super.used_blocks;
        } else {
            block = *free_blocks.begin();
            free_blocks.erase(free_blocks.begin());
        }
    }
    if (block == super.used_blocks) {
        use_blocks(block + 1);
    }
    set_next(block, end_of_file);
    return block;
}

std::vector<Block> chain_from(Block first) {
    std::vector<Block> chain;
    for (Block block = first; block != end_of_file; block = table[block]) {
        chain.push_back(block);
    }
    return chain;
}

void extend(std::vector<Block> & chain) {
    Block block = allocate(chain);
    if (!chain.empty()) {
        set_next(chain.back(), block);
    }
    chain.push_back(block);
}

void save(Id file) {
    constexpr size_t per_block = block_size / sizeof(Entry);
    while (directory.size() * per_block <= file) {
        extend(directory); // cleared, as it may have been another file's
        stable_write(directory.back() * block_size, std::string(block_size, 0).data(), block_size);
    }
    stable_write(directory[file / per_block] * block_size + (file % per_block) * sizeof(Entry), &entries[file],
                 sizeof(Entry));
}

void must_be_free(Id file) {
    if (file == protected_file) {
        trap("'" + name(file) + "' is being loaded: change it when load_model has answered");
    }
}

// Calls visit(stable offset, count) for each contiguous piece of a file's bytes.
template <class Visit>
void for_each_piece(const std::vector<Block> & chain, uint64_t offset, uint64_t count, Visit visit) {
    while (count > 0) {
        size_t at = offset / block_size, last = at;
        uint64_t within = offset % block_size, piece = block_size - within;
        while (piece < count && chain[last + 1] == chain[last] + 1) {
            last++;
            piece += block_size;
        }
        piece = std::min(piece, count);
        visit(chain[at] * block_size + within, piece);
        offset += piece;
        count -= piece;
    }
}

void format() {
    std::memcpy(super.magic, magic, sizeof magic);
    super.version = layout_version;
    use_blocks(directory_block + 1);
    set_next(directory_block, end_of_file);
    directory = {directory_block};
}

} // namespace

void mount() {
    if (ic0_stable64_size() == 0) {
        format();
        return;
    }
    stable_read(0, &super, sizeof super);
    if (std::memcmp(super.magic, magic, sizeof magic) != 0 || super.version != layout_version) {
        trap("stable memory holds something else than this canister's files: install it with mode reinstall");
    }
    table.resize(super.used_blocks);
    stable_read(table_block * block_size, table.data(), table.size() * sizeof(Block));
    for (Block block = directory_block; block < super.used_blocks; block++) {
        if (table[block] == free_block) {
            free_blocks.insert(block);
        }
    }
    directory = chain_from(directory_block);
    entries.resize(directory.size() * (block_size / sizeof(Entry)));
    auto * target = reinterpret_cast<char *>(entries.data());
    for_each_piece(directory, 0, entries.size() * sizeof(Entry), [&](uint64_t offset, uint64_t count) {
        stable_read(offset, target, count);
        target += count;
    });
    chains.resize(entries.size());
    for (Id file = 0; file < entries.size(); file++) {
        if (entries[file].in_use) {
            chains[file] = chain_from(entries[file].first);
            by_name[name(file)] = file;
        }
    }
}

std::string plain(std::string_view path) {
    std::string name;
    for (size_t at = 0; at <= path.size();) {
        size_t end = std::min(path.find('/', at), path.size());
        std::string_view part = path.substr(at, end - at);
        if (!part.empty() && part != ".") {
            name += (name.empty() ? "" : "/") + std::string(part);
        }
        at = end + 1;
    }
    return name;
}

std::optional<Id> find(std::string_view name) {
    auto found = by_name.find(name);
    return found == by_name.end() ? std::nullopt : std::optional<Id>(found->second);
}

Id create(std::string_view name) {
    if (name.empty() || name.size() > max_name) {
        trap("a file name has 1 to " + std::to_string(max_name) + " bytes; this one has " +
             std::to_string(name.size()));
    }
    auto unused = std::find_if(entries.begin(), entries.end(), [](const Entry & entry) { return !entry.in_use; });
    Id file = static_cast<Id>(unused - entries.begin());
    if (unused == entries.end()) {
        entries.emplace_back();
        chains.emplace_back();
    }
    Entry & entry = entries[file];
    entry = Entry{};
    entry.first = end_of_file;
    entry.in_use = 1;
    entry.modified = static_cast<uint64_t>(ic0_time());
    entry.name_size = static_cast<uint8_t>(name.size());
    std::memcpy(entry.name, name.data(), name.size());
    by_name[std::string(name)] = file;
    save(file);
    return file;
}

void remove(Id file) {
    truncate(file, 0);
    by_name.erase(name(file));
    entries[file].in_use = 0;
    save(file);
}

uint64_t size(Id file) { return entries[file].size; }

uint64_t modified(Id file) { return entries[file].modified; }

void touch(Id file) {
    entries[file].modified = static_cast<uint64_t>(ic0_time());
    save(file);
}

uint64_t free_space() { return (max_blocks - super.used_blocks + free_blocks.size()) * block_size; }

std::string name(Id file) { return std::string(entries[file].name, entries[file].name_size); }

std::vector<Id> with_prefix(std::string_view prefix) {
    std::vector<Id> found;
    for (auto at = by_name.lower_bound(prefix);
         at != by_name.end() && std::string_view(at->first).substr(0, prefix.size()) == prefix; ++at) {
        found.push_back(at->second);
    }
    return found;
}

uint64_t read(Id file, uint64_t offset, void * target, uint64_t count) {
    uint64_t file_size = entries[file].size;
    if (offset >= file_size) {
        return 0;
    }
    count = std::min(count, file_size - offset);
    auto * to = static_cast<char *>(target);
    for_each_piece(chains[file], offset, count, [&](uint64_t at, uint64_t piece) {
        stable_read(at, to, piece);
        to += piece;
    });
    return count;
}

void write(Id file, uint64_t offset, const void * source, uint64_t count) {
    must_be_free(file);
    Entry & entry = entries[file];
    if (offset > entry.size) {
        trap("a file cannot have a gap: '" + name(file) + "' has " + std::to_string(entry.size) +
             " bytes, the write is at " + std::to_string(offset));
    }
    std::vector<Block> & chain = chains[file];
    while (chain.size() * block_size < offset + count) {
        extend(chain);
    }
    const auto * from = static_cast<const char *>(source);
    for_each_piece(chain, offset, count, [&](uint64_t at, uint64_t piece) {
        stable_write(at, from, piece);
        from += piece;
    });
    entry.size = std::max(entry.size, offset + count);
    entry.modified = static_cast<uint64_t>(ic0_time());
    entry.first = chain.empty() ? end_of_file : chain[0];
    save(file);
}

void fill(Id file, uint64_t new_size) {
    static const std::string zeros(1 << 20, 0);
    while (size(file) < new_size) {
        write(file, size(file), zeros.data(), std::min<uint64_t>(zeros.size(), new_size - size(file)));
    }
}

void truncate(Id file, uint64_t new_size) {
    must_be_free(file);
    Entry & entry = entries[file];
    std::vector<Block> & chain = chains[file];
    size_t keep = (new_size + block_size - 1) / block_size;
    for (size_t i = keep; i < chain.size(); i++) {
        set_next(chain[i], free_block);
        free_blocks.insert(chain[i]);
    }
    chain.resize(std::min(keep, chain.size()));
    if (!chain.empty()) {
        set_next(chain.back(), end_of_file);
    }
    entry.size = std::min(entry.size, new_size);
    entry.modified = static_cast<uint64_t>(ic0_time());
    entry.first = chain.empty() ? end_of_file : chain[0];
    save(file);
}

void protect(std::optional<Id> file) { protected_file = file; }

std::string read_all(Id file) {
    std::string content(size(file), 0);
    read(file, 0, content.data(), content.size());
    return content;
}

void write_all(std::string_view name, std::string_view content) {
    std::optional<Id> found = find(name);
    Id file = found ? *found : create(name);
    truncate(file, content.size());
    write(file, 0, content.data(), content.size());
}

} // namespace files
