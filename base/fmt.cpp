// {fmt}, compiled once. LibTorch brings its headers without the library; as a
// header-only library it is compiled in every file anew, 5 s of each.
#include <fmt/format-inl.h>

FMT_BEGIN_NAMESPACE

template std::locale locale_ref::get<std::locale>() const;

namespace detail {

template thousands_sep_result<char> thousands_sep_impl(locale_ref);
template char decimal_point_impl(locale_ref);
template dragonbox::decimal_fp<float> dragonbox::to_decimal(float) noexcept;
template dragonbox::decimal_fp<double> dragonbox::to_decimal(double) noexcept;

}  // namespace detail
FMT_END_NAMESPACE
