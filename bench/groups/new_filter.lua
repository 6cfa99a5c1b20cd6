-- Each request has a filter that no other has, and that every VM meets: no response is cached.
local count = 0

request = function()
  count = count + 1
  local path = string.format("%s&created_after=2000-01-01T00:00:00.%06dZ", wrk.path, count % 1000000)
  return wrk.format("GET", path)
end
