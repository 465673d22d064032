#include "dist/watch/trace_events.h"

#include <fmt/format.h>

namespace mumoe::dist {
namespace {

double microseconds(TraceEvents::Time::duration duration) {
  return std::chrono::duration<double, std::micro>(duration).count();
}

}  // namespace

TraceEvents::TraceEvents(int rank, Time origin) : rank_(rank), origin_(origin) {
  metadata(0, "process_name", fmt::format(R"("name":"rank {}")", rank));
}

void TraceEvents::label(std::string_view text) {
  metadata(0, "process_labels", fmt::format(R"("labels":"{}")", text));
}

void TraceEvents::name_row(int row, std::string_view name) {
  metadata(row, "thread_name", fmt::format(R"("name":"{}")", name));
  metadata(row, "thread_sort_index", fmt::format(R"("sort_index":{})", row));
}

void TraceEvents::span(int row,
                       std::string_view name,
                       Time begin,
                       Time end,
                       std::string_view args) {
  add(fmt::format(R"({{"ph":"X","pid":{},"tid":{},"name":"{}",)"
                  R"("ts":{:.3f},"dur":{:.3f},"args":{{{}}}}})",
                  rank_,
                  row,
                  name,
                  microseconds(begin - origin_),
                  microseconds(end - begin),
                  args));
}

void TraceEvents::metadata(int row,
                           std::string_view kind,
                           std::string_view args) {
  add(fmt::format(R"({{"ph":"M","pid":{},"tid":{},"name":"{}","args":{{{}}}}})",
                  rank_,
                  row,
                  kind,
                  args));
}

void TraceEvents::add(std::string event) {
  text_ += (text_.size() > 1 ? ",\n" : "\n") + std::move(event);
}

}  // namespace mumoe::dist
