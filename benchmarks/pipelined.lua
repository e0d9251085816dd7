-- wrk sends 16 requests in one write and reads their answers before the next 16.
init = function(args)
   local one = wrk.format(nil, nil)
   sixteen = string.rep(one, 16)
end

request = function()
   return sixteen
end
