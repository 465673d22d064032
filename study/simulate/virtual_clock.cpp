#include "study/simulate/virtual_clock.h"

#include <algorithm>
#include <chrono>

#include "dist/watch/trace_events.h"

namespace mumoe::study {

VirtualClock::VirtualClock(bool queues, bool keeps)
    : queues_(queues), keeps_(keeps) {}

void VirtualClock::keep(const std::string& row,
                        const std::string& name,
                        double begin,
                        double end) {
  if (keeps_ && end > begin) spans_.push_back({row, name, begin, end});
}

void VirtualClock::compute(const std::string& name,
                           double seconds,
                           double launch) {
  if (!queues_) {
    keep("computes", name, host_, host_ + seconds);
    host_ += seconds;
    return;
  }
  keep("host", name, host_, host_ + launch);
  host_ += launch;
  // The queue ran empty; where its host waited for a network, that is why.
  double empty = std::max(host_ - queue_, 0.0);
  const double launched = std::min(launch, empty);
  empty -= launched;
  for (const auto& [network, seconds] : host_waited_) {
    const double part = std::min(seconds, empty);
    if (part > 0) waited_[network] += part;
    empty -= part;
  }
  host_waited_.clear();
  idle_ += launched + empty;
  queue_ = std::max(queue_, host_);
  keep("computes", name, queue_, queue_ + seconds);
  queue_ += seconds;
}

void VirtualClock::read_back() {
  host_ = std::max(host_, queue_);
}

double VirtualClock::send(const std::string& network,
                          const std::string& name,
                          double seconds,
                          bool of_host) {
  double& free = network_[network];
  const double begin = std::max({free, host_, of_host ? 0 : queue_});
  free = begin + seconds;
  keep(network, name, begin, free);
  return free;
}

void VirtualClock::await(const std::string& network, double end) {
  double& time = computing();
  if (end <= time) return;
  waited_[network] += end - time;
  keep("waits", network, time, end);
  time = end;
}

void VirtualClock::await_on_host(const std::string& network, double end) {
  if (end <= host_) return;
  (queues_ ? host_waited_ : waited_)[network] += end - host_;
  keep("waits", network, host_, end);
  host_ = end;
}

void VirtualClock::phase(const std::string& name) {
  keep("phases", phase_, phase_began_, host_);
  phase_ = name;
  phase_began_ = host_;
}

double VirtualClock::now() const {
  return std::max(host_, queue_);
}

std::string chrome_trace(const std::vector<VirtualSpan>& spans,
                         int rank,
                         const std::string& label) {
  using Time = dist::TraceEvents::Time;
  const auto at = [](double seconds) {
    return Time(std::chrono::duration_cast<Time::duration>(
        std::chrono::duration<double>(seconds)));
  };
  dist::TraceEvents events(rank, at(0));
  events.label(label);
  std::map<std::string, int> rows;
  for (const char* row : {"steps", "phases", "host", "computes", "waits"}) {
    rows.emplace(row, static_cast<int>(rows.size()));
  }
  for (const VirtualSpan& span : spans) {
    rows.emplace(span.row, static_cast<int>(rows.size()));
  }
  for (const auto& [row, number] : rows) events.name_row(number, row);
  for (const VirtualSpan& span : spans) {
    events.span(rows.at(span.row), span.name, at(span.begin), at(span.end));
  }
  return events.text();
}

}  // namespace mumoe::study
