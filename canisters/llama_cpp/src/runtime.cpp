// llama.cpp expects an operating system; this gives it what of that a canister has.
//
// * WASI, which the C library calls: reading files (those of files.h), a clock, standard error. Defining the functions
//   under the names by which the C library imports them leaves no import in the module.
// * Exceptions: there are none in a canister's wasm, so a throw, an abort or a failed assertion becomes a trap whose text
//   says what it was.
#include "runtime.h"

#include "files.h"
#include "ic0.h"
#include "trap.h"

#include "ggml.h"
#include "llama.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <typeinfo>
#include <vector>

extern "C" void _initialize(); // of the C library: runs constructors

namespace {

std::string last_error;
std::string standard_error; // the line being written

void print(std::string_view text) {
    for (char c : text) {
        if (c != '\n') {
            standard_error.push_back(c);
        } else {
            ic0_debug_print(standard_error.data(), standard_error.size());
            standard_error.clear();
        }
    }
}

void keep_error(ggml_log_level level, const char * text, void *) {
    if (level == GGML_LOG_LEVEL_ERROR) {
        const char * after_function = std::strstr(text, ": "); // "function: what went wrong"
        last_error += after_function ? after_function + 2 : text;
    }
    if (level == GGML_LOG_LEVEL_WARN || level == GGML_LOG_LEVEL_ERROR) {
        print(text);
    }
}

} // namespace

void start_runtime() {
    _initialize();
    ggml_set_abort_callback([](const char * message) { trap(message); });
    llama_log_set(keep_error, nullptr);
}

std::string take_last_error() {
    std::string taken;
    taken.swap(last_error);
    while (!taken.empty() && taken.back() == '\n') {
        taken.pop_back();
    }
    return taken;
}

void trap(std::string_view message) { ic0_trap(message.data(), message.size()); }

// ---- exceptions and aborts ----

extern "C" {

void * __cxa_allocate_exception(size_t size) { return std::malloc(size); }
void __cxa_free_exception(void * exception) { std::free(exception); }

[[noreturn]] void __cxa_throw(void * exception, std::type_info * type, void (*)(void *)) {
    std::string name = type->name();
    bool is_standard = name.rfind("St", 0) == 0; // one of std::, which all derive from std::exception alone
    trap("llama.cpp threw " + (is_standard ? static_cast<std::exception *>(exception)->what() : name));
}

[[noreturn]] void __cxa_rethrow() { trap("llama.cpp threw again"); }
void * __cxa_begin_catch(void * exception) { return exception; }
void __cxa_end_catch() {}

// The linker puts it in the place of abort.
[[noreturn]] void __wrap_abort() {
    trap("llama.cpp aborted: " + (last_error.empty() ? standard_error : last_error));
}

} // extern "C"

_LIBCPP_BEGIN_NAMESPACE_STD
[[noreturn]] void __libcpp_verbose_abort(const char * format, ...) _NOEXCEPT {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    trap(text);
}
_LIBCPP_END_NAMESPACE_STD

// ---- WASI (preview 1), as far as it is called ----

namespace {

using Errno = int32_t;
constexpr Errno ok = 0, bad_descriptor = 8, no_entry = 44, not_supported = 58;
constexpr int32_t root = 3, first_file = 4;      // descriptors; the C library resolves every path against the root
constexpr uint8_t directory = 3, regular_file = 4; // file types
constexpr size_t read_ahead = 65536;             // a model's header is read in a hundred thousand small pieces

struct OpenFile {
    files::Id file;
    uint64_t position = 0;
    uint64_t buffer_start = 0;
    std::string buffer;
};
std::vector<std::unique_ptr<OpenFile>> open_files; // by descriptor, from first_file on

OpenFile * opened(int32_t descriptor) {
    size_t index = static_cast<size_t>(descriptor - first_file);
    return descriptor >= first_file && index < open_files.size() ? open_files[index].get() : nullptr;
}

template <class T>
T & at(int32_t address) {
    return *reinterpret_cast<T *>(address);
}

struct Piece { // of scattered memory ("iovec")
    uint32_t address, size;
};

uint64_t read_some(OpenFile & open, char * target, uint64_t count) {
    if (count >= read_ahead) {
        return files::read(open.file, open.position, target, count);
    }
    uint64_t within = open.position - open.buffer_start;
    if (open.position < open.buffer_start || within >= open.buffer.size()) {
        open.buffer.resize(read_ahead);
        open.buffer.resize(files::read(open.file, open.position, open.buffer.data(), read_ahead));
        open.buffer_start = open.position;
        within = 0;
    }
    count = std::min<uint64_t>(count, open.buffer.size() - within);
    std::memcpy(target, open.buffer.data() + within, count);
    return count;
}

struct Stat { // "fdstat"
    uint8_t type, unused;
    uint16_t flags;
    uint64_t rights, rights_inheriting;
};

struct FileStat { // "filestat"
    uint64_t device, inode;
    uint8_t type;
    uint64_t links, size, accessed, modified, changed;
};

} // namespace

#define WASI(name) __imported_wasi_snapshot_preview1_##name

extern "C" {

Errno WASI(fd_prestat_get)(int32_t descriptor, int32_t result) {
    if (descriptor != root) {
        return bad_descriptor;
    }
    at<uint32_t>(result) = 0;     // a directory
    at<uint32_t>(result + 4) = 1; // the length of its name
    return ok;
}

Errno WASI(fd_prestat_dir_name)(int32_t descriptor, int32_t name, int32_t) {
    if (descriptor != root) {
        return bad_descriptor;
    }
    at<char>(name) = '/';
    return ok;
}

Errno WASI(path_open)(int32_t, int32_t, int32_t path, int32_t path_size, int32_t open_flags, int64_t, int64_t, int32_t,
                      int32_t result) {
    if (open_flags != 0) { // create, truncate, directory: llama.cpp only reads here
        return not_supported;
    }
    std::optional<files::Id> file = files::find({&at<char>(path), static_cast<size_t>(path_size)});
    if (!file) {
        return no_entry;
    }
    auto unused = std::find(open_files.begin(), open_files.end(), nullptr);
    if (unused == open_files.end()) {
        unused = open_files.insert(unused, nullptr);
    }
    *unused = std::make_unique<OpenFile>(OpenFile{*file, 0, 0, {}});
    at<int32_t>(result) = first_file + static_cast<int32_t>(unused - open_files.begin());
    return ok;
}

Errno WASI(fd_close)(int32_t descriptor) {
    if (!opened(descriptor)) {
        return bad_descriptor;
    }
    open_files[static_cast<size_t>(descriptor - first_file)].reset();
    return ok;
}

int close(int descriptor) { return WASI(fd_close)(descriptor) == ok ? 0 : -1; } // the C library's imports fd_close itself

Errno WASI(fd_read)(int32_t descriptor, int32_t pieces, int32_t count, int32_t result) {
    OpenFile * open = opened(descriptor);
    if (!open) {
        return bad_descriptor;
    }
    uint32_t total = 0;
    for (const Piece * piece = &at<Piece>(pieces); count > 0; count--, piece++) {
        for (uint32_t done = 0; done < piece->size;) {
            uint64_t got = read_some(*open, reinterpret_cast<char *>(piece->address + done), piece->size - done);
            if (got == 0) {
                break;
            }
            open->position += got;
            done += static_cast<uint32_t>(got);
            total += static_cast<uint32_t>(got);
        }
    }
    at<uint32_t>(result) = total;
    return ok;
}

Errno WASI(fd_write)(int32_t, int32_t pieces, int32_t count, int32_t result) {
    uint32_t total = 0;
    for (const Piece * piece = &at<Piece>(pieces); count > 0; count--, piece++) {
        print({reinterpret_cast<const char *>(piece->address), piece->size});
        total += piece->size;
    }
    at<uint32_t>(result) = total;
    return ok;
}

Errno WASI(fd_seek)(int32_t descriptor, int64_t offset, int32_t whence, int32_t result) {
    OpenFile * open = opened(descriptor);
    if (!open) {
        return bad_descriptor;
    }
    uint64_t base = whence == 0 ? 0 : whence == 1 ? open->position : files::size(open->file);
    open->position = base + static_cast<uint64_t>(offset);
    at<uint64_t>(result) = open->position;
    return ok;
}

Errno WASI(fd_fdstat_get)(int32_t descriptor, int32_t result) {
    if (descriptor != root && !opened(descriptor)) {
        return bad_descriptor;
    }
    at<Stat>(result) = Stat{descriptor == root ? directory : regular_file, 0, 0, ~uint64_t(0), ~uint64_t(0)};
    return ok;
}

Errno WASI(fd_filestat_get)(int32_t descriptor, int32_t result) {
    OpenFile * open = opened(descriptor);
    if (!open) {
        return bad_descriptor;
    }
    at<FileStat>(result) = FileStat{0, open->file, regular_file, 1, files::size(open->file), 0, 0, 0};
    return ok;
}

Errno WASI(fd_fdstat_set_flags)(int32_t, int32_t) { return not_supported; }

Errno WASI(clock_time_get)(int32_t, int64_t, int32_t result) {
    at<int64_t>(result) = ic0_time();
    return ok;
}

Errno WASI(environ_sizes_get)(int32_t count, int32_t size) {
    at<uint32_t>(count) = 0;
    at<uint32_t>(size) = 0;
    return ok;
}

[[noreturn]] Errno WASI(random_get)(int32_t, int32_t) { trap("llama.cpp wants random bytes; a canister has none"); }

Errno WASI(environ_get)(int32_t, int32_t) { return ok; }

[[noreturn]] void WASI(proc_exit)(int32_t code) { trap("llama.cpp ended the program with code " + std::to_string(code)); }

} // extern "C"
