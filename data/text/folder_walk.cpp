#include "data/text/folder_walk.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <optional>
#include <set>
#include <utility>

#include "base/error.h"
#include "data/text/byte_stream.h"
#include "data/text/forms.h"

namespace mumoe::data {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kNamedOfAKind = 3;
constexpr std::size_t kLongestName = 60;

std::string shortened(std::string name) {
  if (name.size() <= kLongestName) return name;
  return "..." + printable(name.substr(name.size() - kLongestName));
}

/// What is skipped, by reason, in the order in which reasons turned up.
class Skipped {
 public:
  void add(const std::string& reason, std::string name) {
    auto kind = std::ranges::find(kinds_, reason, &Kind::reason);
    if (kind == kinds_.end()) {
      kind = kinds_.insert(kinds_.end(), Kind{reason, 0, {}});
    }
    if (kind->count++ < kNamedOfAKind) {
      kind->names += (kind->names.empty() ? "" : ", ") + std::move(name);
    }
  }

  std::string line() const {
    std::size_t count = 0;
    std::string parts;
    for (const Kind& kind : kinds_) {
      count += kind.count;
      parts += fmt::format("{}{} {} ({}{})",
                           parts.empty() ? "" : ", ",
                           kind.count,
                           kind.reason,
                           kind.names,
                           kind.count > kNamedOfAKind ? ", ..." : "");
    }
    return count == 0 ? "" : fmt::format("skipped {}: {}", count, parts);
  }

 private:
  struct Kind {
    std::string reason;
    std::size_t count;
    std::string names;
  };
  std::vector<Kind> kinds_;
};

/// A walk that reads what lies in the folder itself first, and what links lead
/// to after it, so that a name without links is the one that counts.
class Walk {
 public:
  Walk(const fs::path& root, std::span<const std::string_view> names)
      : root_(root), names_(names) {
    // What holds the folder is around it, not in it.
    std::error_code error;
    fs::path above = fs::canonical(root, error);
    while (above.has_relative_path()) {
      above = above.parent_path();
      if (const auto status = look_at(above)) around_.insert(id_of(*status));
    }
    if (const auto status = look_at(root)) seen_.insert(id_of(*status));
    list(root);
    for (; !links_.empty(); links_.pop_front()) {
      visit(fs::path(links_.front()), true);
    }
  }

  FoundTexts found() && {
    return {std::move(texts_), skipped_.line(), std::move(unreadable_)};
  }

 private:
  using Identity = std::pair<dev_t, ino_t>;
  static Identity id_of(const struct stat& status) {
    return {status.st_dev, status.st_ino};
  }
  /// What `path` leads to; nothing, and errno, when that cannot be told.
  static std::optional<struct stat> look_at(const fs::path& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) return std::nullopt;
    return status;
  }

  void cannot(const char* what, const fs::path& path, const std::string& why) {
    if (!unreadable_.empty()) return;
    unreadable_ =
        fmt::format("{}: cannot {}{}", printable(path.string()), what, why);
  }

  void skip(const char* reason, const fs::path& path) {
    skipped_.add(
        reason,
        shortened(printable(path.lexically_relative(root_).generic_string())));
  }

  void list(const fs::path& folder) {
    std::error_code error;
    std::vector<fs::directory_entry> entries;
    fs::directory_iterator entry(folder, error), end;
    for (; !error && entry != end; entry.increment(error)) {
      entries.push_back(*entry);
    }
    if (error) cannot("list: ", folder, error.message());
    std::ranges::sort(entries, {}, [](const auto& e) { return e.path(); });
    for (const auto& e : entries) {
      if (e.path().filename().native().starts_with('.')) {
        skip("hidden", e.path());
      } else if (e.is_symlink(error)) {
        links_.push_back(e.path());
      } else {
        visit(e.path(), false);
      }
    }
  }

  void visit(const fs::path& path, bool by_link) {
    const auto found = look_at(path);
    if (!found) {
      const int error = errno;
      if (by_link && (error == ENOENT || error == ENOTDIR)) {
        return skip("dangling link", path);
      }
      if (by_link && error == ELOOP) return skip("link in a circle", path);
      return cannot("look at it: ", path, std::strerror(error));
    }
    const struct stat& status = *found;
    if (S_ISDIR(status.st_mode)) {
      if (around_.contains(id_of(status))) {
        return skip("link in a circle", path);
      }
      if (!seen_.insert(id_of(status)).second) {
        return skip("reached twice", path);
      }
      return list(path);
    }
    take_file(path, status, by_link);
  }

  void take_file(const fs::path& path, const struct stat& status, bool link) {
    if (!is_named(path, names_)) return skip("not .txt", path);
    if (!S_ISREG(status.st_mode)) return skip("not a file", path);
    if (status.st_size == 0) return skip("empty", path);
    // Numbers of files are looked at only where one may have two names: some
    // file systems give them to several files.
    const bool fresh = seen_.insert(id_of(status)).second;
    if (!fresh && (link || status.st_nlink > 1)) {
      return skip("reached twice", path);
    }
    texts_.push_back(path);
  }

  fs::path root_;
  std::span<const std::string_view> names_;
  std::set<Identity> around_, seen_;
  std::deque<fs::path> links_;
  std::vector<fs::path> texts_;
  Skipped skipped_;
  std::string unreadable_;
};

}  // namespace

FoundTexts find_texts(const fs::path& folder,
                      std::span<const std::string_view> names) {
  return Walk(folder, names).found();
}

bool is_named(const fs::path& path, std::span<const std::string_view> names) {
  return std::ranges::any_of(names, [&](std::string_view end) {
    return ends_in(path, end);
  });
}

}  // namespace mumoe::data
