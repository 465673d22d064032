#include "tests/support/crashed_disk.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "base/error.h"

namespace mumoe::testing {
namespace {

namespace fs = std::filesystem;
using Call = DiskCall::Kind;

std::string refused(const DiskEvent& event, const char* why) {
  return fmt::format("{}: {}", describe(event), why);
}

}  // namespace

std::string describe(const DiskEvent& event) {
  if (event.kind == DiskEvent::Kind::collective) return "meeting";
  if (event.kind == DiskEvent::Kind::published) return "published";
  const auto name = [&] {
    switch (event.call) {
      case Call::create:
        return "create";
      case Call::write:
        return "write";
      case Call::sync:
        return "sync";
      case Call::make_folder:
        return "make_folder";
      case Call::sync_folder:
        return "sync_folder";
      case Call::rename:
        return "rename";
      case Call::remove:
        return "remove";
      case Call::forget:
        return "forget";
    }
    return "?";
  }();
  return fmt::format("rank {}: {} {}{}{}",
                     event.rank,
                     name,
                     event.path.string(),
                     event.to.empty() ? "" : " to ",
                     event.to.string());
}

Content::Content(std::string text)
    : bytes(std::move(text)), hash(std::hash<std::string>()(bytes)) {}

ModelDisk::ModelDisk() {
  nodes_.push_back({.folder = true});
}

ModelDisk::Place ModelDisk::find(const fs::path& path) const {
  Place place{.folder = 0, .name = {}, .node = 0};
  for (const fs::path& part : path) {
    if (part == ".") continue;
    place.folder = place.node;
    place.name = part.string();
    if (place.folder < 0 || !nodes_[place.folder].folder) return {};
    const Names& names = nodes_[place.folder].names;
    const auto found = names.find(place.name);
    place.node = found == names.end() ? -1 : found->second;
  }
  return place;
}

void ModelDisk::change(int folder,
                       std::vector<std::pair<std::string, int>> names) {
  for (const auto& [name, node] : names) {
    if (node < 0) {
      nodes_[folder].names.erase(name);
    } else {
      nodes_[folder].names[name] = node;
    }
  }
  changes_.push_back({.node = folder, .names = std::move(names)});
}

std::string ModelDisk::rename(const DiskEvent& event) {
  const Place from = find(event.path), to = find(event.to);
  if (from.node < 0) return refused(event, "it is not there");
  MUMOE_CHECK(from.folder == to.folder, "a rename from folder to folder");
  if (to.node >= 0 && nodes_[to.node].folder &&
      !nodes_[to.node].names.empty()) {
    return refused(event, "that is a folder with something in it");
  }
  change(from.folder, {{from.name, -1}, {to.name, from.node}});
  return {};
}

std::string ModelDisk::sync_folder(const DiskEvent& event) {
  const Place place = find(event.path);
  if (place.node < 0) return refused(event, "it is not there");
  nodes_[place.node].kept = nodes_[place.node].names;
  std::erase_if(changes_, [&](const Change& change) {
    return change.write < 0 && change.node == place.node;
  });
  drop_unreachable();
  return {};
}

void ModelDisk::drop_unreachable() {
  std::vector<bool> reachable(nodes_.size());
  std::vector<int> next{0};
  const auto reach = [&](int node) {
    if (node < 0 || reachable[node]) return;
    reachable[node] = true;
    next.push_back(node);
  };
  while (!next.empty()) {
    const int folder = next.back();
    next.pop_back();
    for (const auto& [name, node] : nodes_[folder].names) reach(node);
    for (const auto& [name, node] : nodes_[folder].kept) reach(node);
    for (const Change& change : changes_) {
      if (change.node != folder) continue;
      for (const auto& [name, node] : change.names) reach(node);
    }
  }
  std::erase_if(changes_, [&](const Change& change) {
    return change.node != 0 && !reachable[change.node];
  });
}

std::string ModelDisk::write_or_sync(const DiskEvent& event) {
  const auto found = open_.find({event.rank, event.path});
  if (found == open_.end()) return refused(event, "it is not open");
  Node& file = nodes_[found->second];
  if (event.call == Call::write) {
    changes_.push_back(
        {.node = found->second, .write = static_cast<int>(file.writes.size())});
    file.writes.emplace_back(event.bytes);
    file.whole.reset();
    return {};
  }
  file.synced = file.writes.size();
  std::erase_if(changes_, [&](const Change& change) {
    return change.write >= 0 && change.node == found->second;
  });
  return {};
}

std::string ModelDisk::make(const DiskEvent& event) {
  const Place place = find(event.path);
  if (place.folder < 0) return refused(event, "its folder is not there");
  if (place.node >= 0) return refused(event, "it is there already");
  const int node = static_cast<int>(nodes_.size());
  nodes_.push_back({.folder = event.call == Call::make_folder});
  change(place.folder, {{place.name, node}});
  if (event.call == Call::create) open_[{event.rank, event.path}] = node;
  return {};
}

std::string ModelDisk::remove(const DiskEvent& event) {
  const Place place = find(event.path);
  if (place.node < 0) return refused(event, "it is not there");
  if (!nodes_[place.node].names.empty()) {
    return refused(event, "it is not empty");
  }
  change(place.folder, {{place.name, -1}});
  return {};
}

std::string ModelDisk::forget(const DiskEvent& event) {
  const Place place = find(event.path);
  if (place.node < 0) return refused(event, "it is not there");
  nodes_[place.node].read_again = true;
  return {};
}

std::string ModelDisk::apply(const DiskEvent& event) {
  switch (event.call) {
    case Call::create:
    case Call::make_folder:
      return make(event);
    case Call::write:
    case Call::sync:
      return write_or_sync(event);
    case Call::sync_folder:
      return sync_folder(event);
    case Call::rename:
      return rename(event);
    case Call::remove:
      return remove(event);
    case Call::forget:
      return forget(event);
  }
  return refused(event, "there is no such call");
}

std::vector<bool> ModelDisk::unsynced() const {
  std::vector<bool> writes;
  for (const Change& change : changes_) writes.push_back(change.write >= 0);
  return writes;
}

std::shared_ptr<const Content> ModelDisk::content(
    const Node& node,
    const std::vector<Fate>& fates) const {
  const bool all =
      std::ranges::all_of(fates, [](Fate fate) { return fate == Fate::kept; });
  if (all && node.whole) return node.whole;
  std::string bytes;
  std::size_t offset = 0;
  for (std::size_t i = 0; i < node.writes.size(); ++i) {
    const std::string_view write = node.writes[i];
    const Fate fate = i < node.synced ? Fate::kept : fates[i - node.synced];
    if (fate != Fate::lost) {
      const std::size_t length =
          fate == Fate::torn ? write.size() / 2 : write.size();
      bytes.resize(offset + length);
      if (fate != Fate::zeros) bytes.replace(offset, length, write, 0, length);
    }
    offset += write.size();
  }
  auto made = std::make_shared<const Content>(std::move(bytes));
  if (all) node.whole = made;
  return made;
}

void ModelDisk::walk(int folder,
                     const std::string& path,
                     const std::function<void(const std::string&, int)>& visit,
                     const std::vector<Names>& names) const {
  for (const auto& [name, node] : names[folder]) {
    const std::string there = path.empty() ? name : path + "/" + name;
    visit(there, node);
    if (nodes_[node].folder) walk(node, there, visit, names);
  }
}

DiskImage ModelDisk::image(const std::vector<Fate>& fates) const {
  std::vector<Names> names;
  for (const Node& node : nodes_) names.push_back(node.kept);
  std::map<int, std::vector<Fate>> writes;
  for (std::size_t i = 0; i < changes_.size(); ++i) {
    const Change& change = changes_[i];
    if (change.write >= 0) {
      writes[change.node].push_back(fates[i]);
    } else if (fates[i] == Fate::kept) {
      for (const auto& [name, node] : change.names) {
        names[change.node].erase(name);
        if (node >= 0) names[change.node][name] = node;
      }
    }
  }
  DiskImage image;
  walk(
      0,
      "",
      [&](const std::string& path, int node) {
        image[path] =
            nodes_[node].folder ? nullptr : content(nodes_[node], writes[node]);
      },
      names);
  return image;
}

std::vector<std::string> ModelDisk::unread(Fate fate) const {
  std::vector<Names> names;
  for (const Node& node : nodes_) {
    names.push_back(fate == Fate::kept ? node.names : node.kept);
  }
  std::vector<std::string> paths;
  walk(
      0,
      "",
      [&](const std::string& path, int index) {
        const Node& node = nodes_[index];
        const bool synced = node.synced == node.writes.size();
        if (!node.folder && synced && !node.read_again) {
          paths.push_back(path);
        }
      },
      names);
  return paths;
}

}  // namespace mumoe::testing
