#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/support/recording_disk.h"

// What a disk may hold after a power cut: of what was not synced any part may
// be there, in any combination. A file's bytes and a folder's names are apart.

namespace mumoe::testing {

/// What became of a change that was not synced.
enum class Fate {
  lost,
  kept,
  torn,   ///< Of a write: its first half.
  zeros,  ///< Of a write: its length, and no bytes.
};

/// The bytes of a file.
struct Content {
  explicit Content(std::string text);
  std::string bytes;
  std::size_t hash;
};
/// All files by their paths, in their folders; a folder has no content.
using DiskImage = std::map<std::string, std::shared_ptr<const Content>>;

/// A disk as programs see it, and what of that a power cut may leave. Paths
/// begin at its root. Copies are independent; `DiskEvent`s must outlive it.
class ModelDisk {
 public:
  ModelDisk();

  /// Does a call; returns why it could not be done, or nothing.
  std::string apply(const DiskEvent& event);
  /// Changes that are not synced, in order: whether each is a write.
  std::vector<bool> unsynced() const;
  /// What is there when change i has had fate i. A name is kept or lost.
  DiskImage image(const std::vector<Fate>& fates) const;
  /// Files that are synced and that nobody has read again since, by the paths
  /// at which programs see them: after a cut if all names are kept, or if those
  /// that are not synced are lost.
  std::vector<std::string> unread(Fate names) const;

 private:
  using Names = std::map<std::string, int>;
  struct Node {
    bool folder = false;
    Names names = {};  ///< As programs see them.
    Names kept = {};   ///< Those that are synced.
    std::vector<std::string_view> writes = {};
    std::size_t synced = 0;  ///< Of these.
    bool read_again = false;
    mutable std::shared_ptr<const Content> whole = {};  ///< Of all writes.
  };
  /// A write, or names that change together; node −1: the name goes.
  struct Change {
    int node = 0;
    int write = -1;
    std::vector<std::pair<std::string, int>> names = {};
  };
  struct Place {
    int folder = -1;  ///< −1: there is no such folder.
    std::string name = {};
    int node = -1;  ///< −1: nothing has that name.
  };

  Place find(const std::filesystem::path& path) const;
  std::string make(const DiskEvent& event);
  std::string write_or_sync(const DiskEvent& event);
  std::string rename(const DiskEvent& event);
  std::string remove(const DiskEvent& event);
  std::string forget(const DiskEvent& event);
  std::string sync_folder(const DiskEvent& event);
  /// Forgets changes in what no name can lead to any more.
  void drop_unreachable();
  void change(int folder, std::vector<std::pair<std::string, int>> names);
  std::shared_ptr<const Content> content(const Node& node,
                                         const std::vector<Fate>& fates) const;
  void walk(int folder,
            const std::string& path,
            const std::function<void(const std::string&, int)>& visit,
            const std::vector<Names>& names) const;

  std::vector<Node> nodes_;
  std::vector<Change> changes_;
  /// Files that ranks write.
  std::map<std::pair<int, std::filesystem::path>, int> open_;
};

/// "rank 0: sync_folder run"
std::string describe(const DiskEvent& event);

}  // namespace mumoe::testing
