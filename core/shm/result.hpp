// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <optional>
#include <utility>
#include <variant>

#include <shm/fault.hpp>

namespace shm {
inline namespace v1 {

/// A value, or the fault that kept it from being made. The names are those of std::expected, without its exceptions:
/// `value()` of a fault prints the fault's sentence and aborts. An Error other than fault has a `die()` that does so.
template <class T, class Error = fault>
class [[nodiscard]] result {
public:
    using value_type = T;      ///< as in std::expected
    using error_type = Error;  ///< as in std::expected

    /// Holds the value.
    result(T value) noexcept : outcome_{std::in_place_index<0>, std::move(value)} {}

    /// Holds the fault.
    result(Error error) noexcept : outcome_{std::in_place_index<1>, error} {}

    /// Whether there is a value.
    [[nodiscard]] bool has_value() const noexcept { return outcome_.index() == 0; }
    explicit operator bool() const noexcept { return has_value(); }  ///< has_value()

    T& value() & noexcept { return checked(), *std::get_if<0>(&outcome_); }             ///< the value, or aborts
    const T& value() const& noexcept { return checked(), *std::get_if<0>(&outcome_); }  ///< the value, or aborts
    T value() && noexcept { return checked(), std::move(*std::get_if<0>(&outcome_)); }  ///< the value, or aborts

    T& operator*() & noexcept { return *std::get_if<0>(&outcome_); }             ///< precondition: has_value()
    const T& operator*() const& noexcept { return *std::get_if<0>(&outcome_); }  ///< precondition: has_value()
    T operator*() && noexcept { return std::move(*std::get_if<0>(&outcome_)); }  ///< precondition: has_value()
    T* operator->() noexcept { return std::get_if<0>(&outcome_); }               ///< precondition: has_value()
    const T* operator->() const noexcept { return std::get_if<0>(&outcome_); }   ///< precondition: has_value()

    /// The fault. Precondition: !has_value().
    [[nodiscard]] const Error& error() const noexcept { return *std::get_if<1>(&outcome_); }

private:
    void checked() const noexcept {
        if (!has_value()) error().die();
    }

    std::variant<T, Error> outcome_;
};

/// Nothing, or the fault that kept it from being done.
template <class Error>
class [[nodiscard]] result<void, Error> {
public:
    using value_type = void;   ///< as in std::expected
    using error_type = Error;  ///< as in std::expected

    /// It was done.
    result() noexcept = default;

    /// It was refused.
    result(Error error) noexcept : error_{error} {}

    /// Whether it was done.
    [[nodiscard]] bool has_value() const noexcept { return !error_; }
    explicit operator bool() const noexcept { return has_value(); }  ///< has_value()

    /// Nothing; of a fault it prints the sentence and aborts.
    void value() const noexcept {
        if (error_) error_->die();
    }

    /// The fault. Precondition: !has_value().
    [[nodiscard]] const Error& error() const noexcept { return *error_; }

private:
    std::optional<Error> error_;
};

}  // namespace v1
}  // namespace shm
