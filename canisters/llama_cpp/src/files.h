// The canister's files, in stable memory: they survive upgrades, and a message that traps leaves no trace in them.
//
// Stable memory is cut into blocks of 16 KiB:
//
//     block 0                superblock: magic, version, number of blocks ever used
//     blocks 1..128          block table: for each block the next one of its file (a chain), 8 GiB in all
//     block 129..            the files' blocks; the chain that starts at 129 is the directory, an array of `Entry`
//
// Table and directory are mirrored in the heap and written through. Appending takes time in the size of what is
// appended, whatever the size of the file.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace files {

using Id = uint32_t; // a file's place in the directory

constexpr size_t max_name = 223;                  // bytes
constexpr uint64_t max_size = uint64_t(8) << 30; // bytes, of all files together

// Read the directory, or make an empty one in unused stable memory. Once after each start of the module.
// Traps if stable memory holds something else.
void mount();

// The name of the file that a path leads to, as directories are part of the names here: `./a//b` is `a/b`.
std::string plain(std::string_view path);

std::optional<Id> find(std::string_view name);

// An empty file of this name, which must not exist. Traps if the name is empty or longer than `max_name`.
Id create(std::string_view name);

void remove(Id file);

uint64_t size(Id file);
uint64_t modified(Id file); // nanoseconds since 1970, of the last write or touch
void touch(Id file);        // it is in use now
std::string name(Id file);
std::vector<Id> with_prefix(std::string_view prefix); // in order of their names

uint64_t free_space(); // bytes, in whole blocks

// Up to `count` bytes from `offset`; the number there are.
uint64_t read(Id file, uint64_t offset, void * target, uint64_t count);

// Write at `offset`, at most the file's size, which grows if need be. Traps if no space is left.
void write(Id file, uint64_t offset, const void * source, uint64_t count);

void truncate(Id file, uint64_t new_size); // to at most its size
void fill(Id file, uint64_t new_size);     // with zeros, to at least this size

// From now on what would change or remove this file traps; nullopt: any file may be changed again.
void protect(std::optional<Id> file);

// Whole files, for small ones.
std::string read_all(Id file);
void write_all(std::string_view name, std::string_view content);

} // namespace files
