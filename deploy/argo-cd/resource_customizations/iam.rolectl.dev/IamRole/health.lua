-- Health of rolectl's objects for Argo CD, the same for all three kinds: by their kstatus conditions.
local function condition(name)
  for _, c in ipairs((obj.status or {}).conditions or {}) do
    if c.type == name then
      return c
    end
  end
  return { status = "Unknown", reason = "", message = "" }
end

local ready = condition("Ready")
local stalled = condition("Stalled")

local function health(status)
  local message = ready.message
  if ready.reason ~= "" then
    message = ready.reason .. ": " .. message
  end
  return { status = status, message = message }
end

if obj.metadata.deletionTimestamp ~= nil then
  return health("Progressing")
end
if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "the controller has not seen this generation yet" }
end
if stalled.status == "True" then
  return health("Degraded")
end
if ready.status == "True" then
  return health("Healthy")
end
-- Nothing is wrong: it resumes when an operator unlocks or approves, or when `suspend` is removed.
if ready.reason == "SessionLocked" or ready.reason == "Expired" or ready.reason == "Suspended" or ready.reason == "AwaitingApproval" or ready.reason == "RemovalsParked" then
  return health("Suspended")
end
if ready.reason == "Drifted" then
  return health("Degraded")
end
return health("Progressing")
