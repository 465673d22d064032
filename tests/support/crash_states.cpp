#include "tests/support/crash_states.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <numeric>
#include <random>
#include <set>
#include <utility>

#include "tests/support/crash_fates.h"

namespace mumoe::testing {
namespace {

using Call = DiskCall::Kind;
using Kind = DiskEvent::Kind;
using Order = std::vector<const DiskEvent*>;

/// What ranks do between two meetings.
struct Segment {
  Order recorded;
  std::vector<int> lengths;  ///< Events of each rank.
  std::size_t last = 0;      ///< Index of its last event.
  int first_meeting = 0;     ///< The number of operations before it.
};

std::vector<Segment> segments_of(const std::vector<DiskEvent>& events,
                                 int ranks) {
  // Ranks take part in the same operations: their number tells which it is.
  std::vector<int> meetings(ranks);
  std::map<int, Segment> by_meeting;
  for (std::size_t i = 0; i < events.size(); ++i) {
    const DiskEvent& event = events[i];
    if (event.kind == Kind::collective) {
      ++meetings[event.rank];
      continue;
    }
    Segment& segment = by_meeting[meetings[event.rank]];
    segment.recorded.push_back(&event);
    segment.last = i;
  }
  std::vector<Segment> segments;
  bool open = false;
  for (auto& [meeting, segment] : by_meeting) {
    if (!open) segments.emplace_back().first_meeting = meeting;
    Segment& into = segments.back();
    into.recorded.insert(into.recorded.end(),
                         segment.recorded.begin(),
                         segment.recorded.end());
    into.last = std::max(into.last, segment.last);
    open = std::ranges::none_of(into.recorded, [](const DiskEvent* event) {
      return event->kind == Kind::call;
    });
  }
  for (Segment& segment : segments) {
    segment.lengths.resize(ranks);
    for (const DiskEvent* event : segment.recorded) {
      ++segment.lengths[event->rank];
    }
  }
  return segments;
}

/// How many events of each rank were before the cut.
using Cut = std::vector<int>;

/// Whether the order of ranks says nothing about what is there: each writes or
/// reads files of its own.
bool commutes(const Segment& segment) {
  std::set<int> callers;
  bool apart = true;
  for (const DiskEvent* event : segment.recorded) {
    if (event->kind != Kind::call) continue;
    callers.insert(event->rank);
    apart =
        apart && (event->call == Call::create || event->call == Call::write ||
                  event->call == Call::sync || event->call == Call::forget);
  }
  return apart || callers.size() < 2;
}

std::set<Cut> cuts_of(const Segment& segment,
                      const CrashOptions& options,
                      std::mt19937_64& random) {
  const int ranks = static_cast<int>(segment.lengths.size());
  Cut cut(ranks, 0);
  std::set<Cut> cuts{cut};
  for (const DiskEvent* event : segment.recorded) {
    ++cut[event->rank];
    cuts.insert(cut);
  }
  if (!options.any_cuts) return cuts;
  for (const Cut& others : {Cut(ranks, 0), segment.lengths}) {
    for (int rank = 0; rank < ranks; ++rank) {
      Cut corner = others;
      for (int i = 0; i <= segment.lengths[rank]; ++i) {
        corner[rank] = i;
        cuts.insert(corner);
      }
    }
  }
  for (int i = 0; i < options.cuts; ++i) {
    for (int rank = 0; rank < ranks; ++rank) {
      cut[rank] = static_cast<int>(
          random() % static_cast<std::uint64_t>(segment.lengths[rank] + 1));
    }
    cuts.insert(cut);
  }
  return cuts;
}

/// The events before the cut, where `turns` says whose is next.
Order in_turns(const Segment& segment, const std::vector<int>& turns) {
  std::vector<Order> queues(segment.lengths.size());
  for (const DiskEvent* event : segment.recorded) {
    queues[event->rank].push_back(event);
  }
  std::vector<std::size_t> next(queues.size());
  Order order;
  for (const int rank : turns) order.push_back(queues[rank][next[rank]++]);
  return order;
}

std::vector<Order> orders_of(const Segment& segment,
                             const Cut& cut,
                             std::mt19937_64& random) {
  Cut left = cut;
  Order recorded;
  for (const DiskEvent* event : segment.recorded) {
    if (left[event->rank]-- > 0) recorded.push_back(event);
  }
  std::vector<Order> orders{std::move(recorded)};
  if (commutes(segment)) return orders;
  std::vector<int> ranks(cut.size());
  std::iota(ranks.begin(), ranks.end(), 0);
  std::vector<int> turns;
  do {
    turns.clear();
    for (const int rank : ranks) turns.insert(turns.end(), cut[rank], rank);
    orders.push_back(in_turns(segment, turns));
  } while (std::ranges::next_permutation(ranks).found);
  for (int i = 0; i < 4; ++i) {
    std::ranges::shuffle(turns, random);
    orders.push_back(in_turns(segment, turns));
  }
  return orders;
}

using Fates = std::vector<Fate>;

std::string text_of(const Order& order, const Fates& fates) {
  std::string text = order.empty() ? "at once" : "";
  for (const DiskEvent* event : order) {
    if (event->kind == Kind::call) text += describe(*event) + "\n";
  }
  text += "not synced:";
  for (const Fate fate : fates) {
    text += std::array{" lost",
                       " kept",
                       " torn",
                       " zeros"}[static_cast<std::size_t>(fate)];
  }
  return text;
}

class Enumeration {
 public:
  Enumeration(const CrashOptions& options,
              const std::function<bool(const CrashState&)>& visit)
      : options_(options), visit_(visit), random_(options.seed) {}

  /// Whether to go on with what comes after the segment.
  bool segment(const Segment& segment) {
    if (segment.last >= options_.from) {
      const auto cuts = cuts_of(segment, options_, random_);
      for (auto cut = cuts.rbegin(); cut != cuts.rend(); ++cut) {
        for (const Order& order : orders_of(segment, *cut, random_)) {
          if (!states_after(order)) return false;
        }
      }
    }
    for (const DiskEvent* event : segment.recorded) {
      const std::string failed = apply(disk_, published_, *event);
      if (!failed.empty()) return fails(failed, segment.recorded);
    }
    return true;
  }

 private:
  static std::string apply(ModelDisk& disk,
                           int& published,
                           const DiskEvent& event) {
    if (event.kind == Kind::call) return disk.apply(event);
    published = std::max(published, event.save);
    return {};
  }

  bool fails(const std::string& failed, const Order& order) {
    visit_({.image = {},
            .published = published_,
            .failed = failed,
            .describe = [&] { return text_of(order, {}); }});
    return false;
  }

  bool states_after(const Order& order) {
    ModelDisk disk = disk_;
    int published = published_;
    for (const DiskEvent* event : order) {
      const std::string failed = apply(disk, published, *event);
      if (!failed.empty()) return fails(failed, order);
    }
    for (const Fates& fates : fates_of(disk.unsynced(),
                                       options_.exhaustive,
                                       options_.samples,
                                       random_)) {
      const bool go_on = visit_(
          {.image = disk.image(fates), .published = published, .describe = [&] {
             return text_of(order, fates);
           }});
      if (!go_on) return false;
    }
    return !options_.may_be_damaged || damages(disk, published, order);
  }

  bool damages(const ModelDisk& disk, int published, const Order& order) {
    const std::size_t changes = disk.unsynced().size();
    for (const Fate fate : {Fate::kept, Fate::lost}) {
      const Fates fates(changes, fate);
      for (const std::string& path : disk.unread(fate)) {
        if (!options_.may_be_damaged(path)) continue;
        CrashState state{.image = disk.image(fates),
                         .published = published,
                         .damaged = path,
                         .describe = [&] { return text_of(order, fates); }};
        const auto found = state.image.find(path);
        std::string bytes = found->second->bytes;
        bytes[bytes.size() / 2] ^= 1;
        found->second = std::make_shared<const Content>(std::move(bytes));
        if (!visit_(state)) return false;
      }
    }
    return true;
  }

  const CrashOptions& options_;
  const std::function<bool(const CrashState&)>& visit_;
  std::mt19937_64 random_;
  ModelDisk disk_;
  int published_ = 0;
};

bool may_be_left_out(const DiskEvent& event) {
  return event.kind == Kind::call &&
         (event.call == Call::sync || event.call == Call::sync_folder ||
          event.call == Call::rename || event.call == Call::forget);
}

const DiskEvent& last_call(const Segment& segment) {
  const DiskEvent* last = segment.recorded.front();
  for (const DiskEvent* event : segment.recorded) {
    if (event->kind == Kind::call) last = event;
  }
  return *last;
}

/// Of several that look the same, which one it is.
std::string after(const std::vector<DiskEvent>& events, std::size_t index) {
  for (std::size_t i = index; i-- > 0;) {
    if (events[i].rank == events[index].rank && events[i].kind == Kind::call &&
        events[i].call != Call::write) {
      return ", after " + describe(events[i]);
    }
  }
  return {};
}

std::vector<DiskEvent> without_meetings(const std::vector<DiskEvent>& events,
                                        int ranks,
                                        int first,
                                        int last) {
  std::vector<int> meetings(ranks);
  std::vector<DiskEvent> left;
  for (const DiskEvent& event : events) {
    if (event.kind == Kind::collective) {
      const int number = meetings[event.rank]++;
      if (number >= first && number < last) continue;
    }
    left.push_back(event);
  }
  return left;
}

}  // namespace

void each_crash(const std::vector<DiskEvent>& events,
                int ranks,
                const CrashOptions& options,
                const std::function<bool(const CrashState&)>& visit) {
  Enumeration enumeration(options, visit);
  for (const Segment& segment : segments_of(events, ranks)) {
    if (!enumeration.segment(segment)) return;
  }
}

std::vector<Mutation> mutations_of(const std::vector<DiskEvent>& events,
                                   int ranks) {
  std::vector<Mutation> mutations;
  int published = 0;
  for (std::size_t i = 0; i < events.size(); ++i) {
    published = std::max(published, events[i].save);
    if (!may_be_left_out(events[i])) continue;
    Mutation mutation{describe(events[i]) + after(events, i), events, i};
    mutation.events.erase(mutation.events.begin() + std::ptrdiff_t(i));
    mutation.published = published;
    mutations.push_back(std::move(mutation));
  }
  const auto segments = segments_of(events, ranks);
  for (std::size_t s = 1; s < segments.size(); ++s) {
    const Segment &before = segments[s - 1], &after = segments[s];
    // Ranks may have come to the meeting before others began with what is
    // before it.
    const auto begin =
        static_cast<std::size_t>(before.recorded.front() - events.data());
    const std::size_t from = begin - std::min<std::size_t>(begin, ranks);
    mutations.push_back(
        {fmt::format("meeting after {}", describe(last_call(before))),
         without_meetings(events,
                          ranks,
                          before.first_meeting,
                          after.first_meeting),
         from,
         /*is_meeting=*/true});
  }
  return mutations;
}

}  // namespace mumoe::testing
