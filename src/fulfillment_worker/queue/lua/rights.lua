-- Tries what the user may do, and changes nothing. Returns nothing, or the first refusal.

return refusal
