-- The other choice for CoCLRExperiment: healthy as soon as the operator has accepted it, for applications that must not wait for days of
-- training. Failures still show as Degraded.
local hs = { status = "Progressing", message = "Waiting for the operator" }
if obj.status == nil or obj.status.conditions == nil then
  return hs
end
if obj.status.observedGeneration == nil or obj.status.observedGeneration < obj.metadata.generation then
  return hs
end
for _, c in ipairs(obj.status.conditions) do
  if c.type == "Stalled" and c.status == "True" then
    return { status = "Degraded", message = (c.reason or "Stalled") .. ": " .. (c.message or "") }
  end
end
for _, c in ipairs(obj.status.conditions) do
  if c.type == "Suspended" and c.status == "True" then
    return { status = "Suspended", message = c.message or "Suspended" }
  end
end
for _, c in ipairs(obj.status.conditions) do
  if c.type == "Accepted" then
    if c.status == "True" then
      return { status = "Healthy", message = "Accepted; " .. (obj.status.state or "running") }
    end
    return { status = "Progressing", message = c.message or c.reason or "Not accepted yet" }
  end
end
return hs
