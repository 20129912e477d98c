# SPDX-License-Identifier: MIT OR Apache-2.0
# What Doxygen reads of a header: the columns of a class comment as headed paragraphs (@part and @item are in the
# Doxyfile), and names as they are used, without the inline namespace. Lines stay where they are, for the warnings.
s,^( *///) Edges +(\[[a-z-]+\]) +,\1 @part{Edges} @item{\2} ,
s,^( *///) {6\,}(\[[a-z-]+\]) +,\1 @item{\2} ,
s,^( *///) (Promise|Progress|Callers|Shape|Edges|Refuses|Fork|Crash|Trust|Source) +,\1 @part{\2},
s,^( *///) ([a-z_]+(<T>)?)  +,\1 @item{\2} ,
s,///< +([0-9]+)  ,///< At byte \1: ,
s,^inline namespace v1 \{$|^\}  // namespace v1$,,
