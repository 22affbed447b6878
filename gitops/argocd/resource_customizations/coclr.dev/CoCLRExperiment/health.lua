-- CoCLRExperiment keeps to kstatus: observedGeneration, and the conditions Ready, Reconciling and Stalled.
-- Suspended is a state of its own in Argo CD, so it is looked at before Ready (which is True while suspended).
local hs = { status = "Progressing", message = "Waiting for the operator" }
if obj.metadata.deletionTimestamp ~= nil then
  hs.message = "Being deleted"
  return hs
end
if obj.status == nil or obj.status.conditions == nil then
  return hs
end
if obj.status.observedGeneration == nil or obj.status.observedGeneration < obj.metadata.generation then
  hs.message = "Waiting for the operator to see the newest spec"
  return hs
end
local ready, reconciling, stalled, suspended
for _, c in ipairs(obj.status.conditions) do
  if c.type == "Ready" then ready = c end
  if c.type == "Reconciling" and c.status == "True" then reconciling = c end
  if c.type == "Stalled" and c.status == "True" then stalled = c end
  if c.type == "Suspended" and c.status == "True" then suspended = c end
end
if stalled ~= nil then
  hs.status = "Degraded"
  hs.message = (stalled.reason or "Stalled") .. ": " .. (stalled.message or "")
elseif suspended ~= nil then
  hs.status = "Suspended"
  hs.message = suspended.message or "Suspended"
elseif reconciling ~= nil then
  hs.message = reconciling.message or reconciling.reason or "Reconciling"
elseif ready ~= nil and ready.status == "True" then
  hs.status = "Healthy"
  hs.message = ready.message or ready.reason or "Succeeded"
elseif ready ~= nil then
  hs.message = ready.message or ready.reason or "Not ready"
end
return hs
