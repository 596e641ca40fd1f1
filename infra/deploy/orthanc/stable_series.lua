-- Tells Teachback of every series that Orthanc has complete. Orthanc 1.9 or newer, with Lua 5.3 or newer.
--
--   teachback hooks create --dataset NAME       prints the address and the secret
--   TEACHBACK_HOOK_URL=... TEACHBACK_HOOK_SECRET=whsec_... Orthanc orthanc.json
--   orthanc.json:  "LuaScripts": ["/etc/orthanc/stable_series.lua"],  "StableAge": 60
--
-- Orthanc answers no request while a Lua function of it runs, so the message asks Teachback to answer before it looks
-- ("Prefer: respond-async"). A message that is lost (Teachback was down) costs nothing but time: the data set is listed
-- again whenever somebody asks for an image that is not known, and by `POST .../datasets/NAME:sync`.

local K = {}  -- SHA-256 (FIPS 180-4): the first 32 bits of the fractional parts of the cube roots of 64 primes
local INITIAL = {}  -- and of the square roots of the first eight

local function fraction(root)
  return math.floor((root - math.floor(root)) * 4294967296)
end

local candidate = 2
while #K < 64 do
  local prime = true
  for divisor = 2, math.floor(math.sqrt(candidate)) do
    if candidate % divisor == 0 then prime = false break end
  end
  if prime then
    if #INITIAL < 8 then INITIAL[#INITIAL + 1] = fraction(math.sqrt(candidate)) end
    K[#K + 1] = fraction(candidate ^ (1 / 3))
  end
  candidate = candidate + 1
end

local function rotated(x, n)
  return ((x >> n) | (x << (32 - n))) & 0xffffffff
end

local function sha256(message)
  local padded = message .. "\128" .. string.rep("\0", (55 - #message) % 64) .. string.pack(">I8", #message * 8)
  local hash = {table.unpack(INITIAL)}
  for start = 1, #padded, 64 do
    local w = {string.unpack(">" .. string.rep("I4", 16), padded, start)}
    for i = 17, 64 do
      local s0 = rotated(w[i - 15], 7) ~ rotated(w[i - 15], 18) ~ (w[i - 15] >> 3)
      local s1 = rotated(w[i - 2], 17) ~ rotated(w[i - 2], 19) ~ (w[i - 2] >> 10)
      w[i] = (w[i - 16] + s0 + w[i - 7] + s1) & 0xffffffff
    end
    local a, b, c, d, e, f, g, h = table.unpack(hash)
    for i = 1, 64 do
      local choice = (e & f) ~ (~e & g)
      local t1 = h + (rotated(e, 6) ~ rotated(e, 11) ~ rotated(e, 25)) + (choice & 0xffffffff) + K[i] + w[i]
      local t2 = (rotated(a, 2) ~ rotated(a, 13) ~ rotated(a, 22)) + ((a & b) ~ (a & c) ~ (b & c))
      h, g, f, e, d, c, b, a = g, f, e, (d + t1) & 0xffffffff, c, b, a, (t1 + t2) & 0xffffffff
    end
    for i, value in ipairs({a, b, c, d, e, f, g, h}) do
      hash[i] = (hash[i] + value) & 0xffffffff
    end
  end
  return string.pack(">" .. string.rep("I4", 8), table.unpack(hash))
end

local function hmac(key, message)  -- RFC 2104
  if #key > 64 then key = sha256(key) end
  key = key .. string.rep("\0", 64 - #key)
  local function mixed(byte)
    return (key:gsub(".", function(c) return string.char(c:byte() ~ byte) end))
  end
  return sha256(mixed(0x5c) .. sha256(mixed(0x36) .. message))
end

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function to_base64(bytes)
  local out = {}
  for start = 1, #bytes, 3 do
    local a, b, c = bytes:byte(start, start + 2)
    local bits = (a << 16) | ((b or 0) << 8) | (c or 0)
    for place = 0, 3 do
      local there = place == 0 or place == 1 or (place == 2 and b) or (place == 3 and c)
      local index = ((bits >> (18 - 6 * place)) & 63) + 1
      out[#out + 1] = there and ALPHABET:sub(index, index) or "="
    end
  end
  return table.concat(out)
end

local function from_base64(text)
  local out, bits, count = {}, 0, 0
  for c in text:gmatch("[%w+/]") do
    bits, count = (bits << 6 | (ALPHABET:find(c, 1, true) - 1)) & 0xffffff, count + 6
    if count >= 8 then
      count = count - 8
      out[#out + 1] = string.char((bits >> count) & 255)
    end
  end
  return table.concat(out)
end

local sent = 0

function OnStableSeries(seriesId, tags, metadata)
  local url, secret = os.getenv("TEACHBACK_HOOK_URL"), os.getenv("TEACHBACK_HOOK_SECRET")
  if not url or not secret then
    print("Teachback: TEACHBACK_HOOK_URL and TEACHBACK_HOOK_SECRET are not set")
    return
  end
  sent = sent + 1
  local now = tostring(os.time())
  local id = string.format("orthanc-%s-%s-%d", seriesId, now, sent)
  local body = DumpJson({
    specversion = "1.0",
    id = id,
    source = "/orthanc",
    type = "orthanc.series.stable",
    data = {series = tags["SeriesInstanceUID"]}
  })
  local signature = to_base64(hmac(from_base64((secret:gsub("^whsec_", ""))), id .. "." .. now .. "." .. body))
  HttpPost(url, body, {
    ["Content-Type"] = "application/cloudevents+json",
    ["Prefer"] = "respond-async",
    ["webhook-id"] = id,
    ["webhook-timestamp"] = now,
    ["webhook-signature"] = "v1," .. signature
  })
end
