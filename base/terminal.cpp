#include "base/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>

namespace mumoe {

std::size_t terminal_columns() {
  if (const char* columns = std::getenv("COLUMNS")) {
    if (const int count = std::atoi(columns); count > 1) return count;
  }
  winsize size{};
  const bool known = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0;
  return known && size.ws_col > 1 ? size.ws_col : 80;
}

}  // namespace mumoe
